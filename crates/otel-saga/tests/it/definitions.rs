//! Definitions that are refused, and the errors, which name the step.

use otel_saga::{DefinitionError, Saga, SagaBuilder, StepContext, StepError, StepHandle};

type Builder = SagaBuilder<(), u32>;
type Cx = StepContext<()>;

async fn number(_: Cx, input: u32, (): ()) -> Result<u32, StepError> {
    Ok(input)
}

async fn doubled(_: Cx, _: u32, number: u32) -> Result<u32, StepError> {
    Ok(number * 2)
}

async fn sum(_: Cx, _: u32, (a, b): (u32, u32)) -> Result<u32, StepError> {
    Ok(a + b)
}

async fn undo<A>(_: Cx, _: u32, _: A, _: Option<u32>) -> Result<(), StepError> {
    Ok(())
}

fn built(define: impl FnOnce(&mut Builder)) -> Result<Saga<(), u32>, DefinitionError> {
    let mut saga = Saga::builder("order", 1);
    define(&mut saga);
    saga.build()
}

fn refused(define: impl FnOnce(&mut Builder)) -> String {
    built(define).unwrap_err().to_string()
}

#[test]
fn a_saga_with_groups_and_typed_outputs_is_accepted() {
    let saga = built(|saga| {
        let (a, b) =
            saga.parallel(|g| (g.step("a", (), number).undo(undo), g.step("b", (), number).undo(undo)));
        let both = saga.step("sum", (a, b), sum).undo(undo);
        let paid = saga.step("pay", both, doubled).pivot();
        saga.parallel(|g| {
            g.step("ship", paid, doubled).forward();
            g.step("mail", (paid, both), sum).forward();
        });
    })
    .unwrap();
    assert_eq!((saga.name(), saga.version()), ("order", 1));
    built(|saga| {
        saga.step("a", (), number).undo(undo);
    })
    .unwrap();
}

#[test]
fn what_gets_stuck_is_refused_by_name() {
    let pivot_in_group = refused(|saga| {
        saga.parallel(|g| {
            g.step("a", (), number).undo(undo);
            g.step("pay", (), number).pivot();
        });
    });
    assert_eq!(pivot_in_group, "the step `pay` is a pivot in a parallel group");

    let after_pivot = refused(|saga| {
        saga.step("pay", (), number).pivot();
        saga.step("reserve", (), number).undo(undo);
    });
    assert_eq!(after_pivot, "the step `reserve` can be undone, but comes after the pivot");

    let no_end = refused(|saga| {
        let _ = saga.step("a", (), number);
        saga.step("b", (), number).undo(undo);
    });
    assert_eq!(no_end, "the step `a` was given no end: `undo`, `pivot` or `forward`");

    let twice = refused(|saga| {
        saga.step("a", (), number).undo(undo);
        saga.step("a", (), number).undo(undo);
    });
    assert_eq!(twice, "there are two steps `a`");

    let second_pivot = refused(|saga| {
        saga.step("pay", (), number).pivot();
        saga.step("pay again", (), number).pivot();
    });
    assert_eq!(second_pivot, "the step `pay again` is a second pivot");

    let forward = refused(|saga| {
        saga.step("ship", (), number).forward();
    });
    assert_eq!(forward, "the step `ship` is a forward step, but no pivot comes before it");
}

#[test]
fn outputs_come_from_steps_that_are_done_by_then() {
    let sibling = refused(|saga| {
        saga.parallel(|g| {
            let a = g.step("a", (), number).undo(undo);
            g.step("b", a, doubled).undo(undo);
        });
    });
    assert_eq!(sibling, "the step `b` uses the output of a step that runs at the same time");

    let mut stranger: Option<StepHandle<u32>> = None;
    built(|saga| stranger = Some(saga.step("a", (), number).undo(undo))).unwrap();
    let foreign = refused(|saga| {
        saga.step("z", (), number).undo(undo);
        saga.step("b", stranger.unwrap(), doubled).undo(undo);
    });
    assert_eq!(foreign, "the step `b` uses the output of another saga's step");
}

#[test]
fn names_are_parts_of_keys_and_sagas_have_steps() {
    let slash = refused(|saga| {
        saga.step("a/b", (), number).undo(undo);
    });
    assert_eq!(slash, "`a/b` is no name: 1 to 64 bytes, printable, without `/` and `:`");
    let saga: Builder = Saga::builder("", 1);
    assert_eq!(saga.build().unwrap_err(), DefinitionError::Name { name: String::new() });
    assert_eq!(refused(|_| {}), "the saga `order` has no steps");
    assert_eq!(refused(|saga| saga.parallel(|_| {})), "the saga `order` has no steps");
    let empty = refused(|saga| {
        saga.parallel(|_| {});
        saga.step("a", (), number).undo(undo);
    });
    assert_eq!(empty, "the saga `order` has a parallel group without steps");
}
