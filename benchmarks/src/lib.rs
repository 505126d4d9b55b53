//! The common parts of all benchmarks: counting, timing, an SDK setup that discards telemetry, and processes under
//! valgrind.
//!
//! Each measurement runs in a separate process, because the providers and the propagator are global.

pub mod allocations;
pub mod cells;
pub mod cli;
pub mod measure;
pub mod process;
pub mod sdk;
pub mod table;

/// Defines an enum whose values have names for command lines and file names.
#[macro_export]
macro_rules! named {
    ($(#[$doc:meta])* $type:ident { $($(#[$variant_doc:meta])* $variant:ident = $name:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum $type { $($(#[$variant_doc])* $variant,)* }

        impl $type {
            pub(crate) const ALL: &[Self] = &[$(Self::$variant,)*];

            pub(crate) fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            fn parse(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.name() == name)
            }
        }
    };
}
