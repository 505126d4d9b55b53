//! An import of 2,000 spans in one trace, with one failure deep inside.

use serde_json::json;

use super::{CLIENT, Data, INTERNAL, MICROSECOND, MILLISECOND, NewSpan, SECOND};

const BATCHES: u64 = 57;
const ROWS: u64 = 16;
/// The batch whose last row fails.
const FAILED: u64 = 41;

pub(super) fn catalogue(data: &mut Data) {
    let place = data.root();
    let start = data.now - 4 * SECOND;
    let service = "catalogue";
    let attributes = json!({"import.file": "products.csv"});
    let length = 3_800 * MILLISECOND;
    let root = data.span(
        &place,
        NewSpan { service, name: "import products", kind: INTERNAL, start, length, attributes },
    );
    data.fail("import_incomplete", "1 of 912 rows was not written");
    let mut at = start + MILLISECOND;
    for number in 0..BATCHES {
        let length = (40 + data.random(20)) * MILLISECOND;
        let name = format!("batch {number}");
        let attributes = json!({"import.rows": ROWS});
        let batch = data.span(
            &place.below(&root),
            NewSpan { service, name: &name, kind: INTERNAL, start: at, length, attributes },
        );
        if number == FAILED {
            data.fail("row_rejected", "");
        }
        let step = length / (ROWS + 1);
        for row in 0..ROWS {
            let start = at + row * step;
            let fails = number == FAILED && row + 1 == ROWS;
            let attributes = json!({"product.id": number * ROWS + row});
            let one = data.span(
                &place.below(&batch),
                NewSpan {
                    service,
                    name: "write a row",
                    kind: INTERNAL,
                    start,
                    length: step * 9 / 10,
                    attributes,
                },
            );
            if fails {
                data.fail("row_rejected", "");
            }
            let attributes = json!({"db.system.name": "postgresql", "db.query.summary": "INSERT products", "db.query.text": "INSERT INTO products VALUES ($1, $2, $3)"});
            let [start, length] = [start + 200 * MICROSECOND, step / 2];
            data.span(
                &place.below(&one),
                NewSpan { service, name: "INSERT products", kind: CLIENT, start, length, attributes },
            );
            if fails {
                data.fail("23514", "new row violates the check constraint \"products_price_check\"");
                data.log(
                    service,
                    start + length,
                    17,
                    "row 671 was not written: the price is negative",
                    &place.below(&one),
                );
            }
        }
        // Some batches also refresh a cache, so that the trace has 2,000 spans.
        for _ in 0..if number < 56 { 2 } else { 6 } {
            data.span(
                &place.below(&batch),
                NewSpan {
                    service,
                    name: "SET product",
                    kind: CLIENT,
                    start: at + length - MILLISECOND,
                    length: MILLISECOND / 2,
                    attributes: json!({"db.system.name": "redis"}),
                },
            );
        }
        at += length + 8 * MILLISECOND;
    }
}
