SELECT id, saga, version, status, created, changed, due, owner, head, epoch FROM instance WHERE id = $1
