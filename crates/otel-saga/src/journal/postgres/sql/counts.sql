SELECT saga, status, count(*), min(created) FROM instance GROUP BY saga, status
