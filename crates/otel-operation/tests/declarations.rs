//! The declarations about the SDK and the propagator. A test binary of its own, because they are the process's.

use otel_operation::{
    declare_final_propagator, declare_parent_based_sampler, has_parent_based_sampler, reset_declarations,
};
use otel_propagation::is_global_final;

#[test]
fn declarations_hold_until_they_are_reset() {
    let declared = || (has_parent_based_sampler(), is_global_final());
    assert_eq!(declared(), (false, false));
    declare_parent_based_sampler();
    assert_eq!(declared(), (true, false));
    declare_final_propagator();
    assert_eq!(declared(), (true, true));
    reset_declarations();
    assert_eq!(declared(), (false, false));
}
