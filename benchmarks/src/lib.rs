//! The common parts of all benchmarks: counting, timing, an SDK setup that discards telemetry, and processes under
//! valgrind.
//!
//! Each measurement runs in a separate process, because the providers and the propagator are global.

pub mod allocations;
pub mod atomics;
pub mod cells;
pub mod cli;
pub mod measure;
pub mod messages;
#[cfg(feature = "comparison")]
pub mod oxtel;
pub mod process;
pub mod results;
pub mod sdk;
pub mod table;

/// Defines an enum whose values have names for command lines and file names.
#[macro_export]
macro_rules! named {
    ($(#[$doc:meta])* $vis:vis $type:ident { $($(#[$variant_doc:meta])* $variant:ident = $name:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $vis enum $type { $($(#[$variant_doc])* $variant,)* }

        impl $type {
            /// All values.
            $vis const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Returns its name.
            $vis const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Returns the value of this name.
            $vis fn parse(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.name() == name)
            }
        }
    };
}
