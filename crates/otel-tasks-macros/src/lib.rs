//! The macros of `otel-tasks`, which documents them.
//!
#![doc = include_str!("../README.md")]

mod attributes;
mod decorator;
mod fields;
mod function;
mod options;

use proc_macro::TokenStream;
use syn::{DeriveInput, Item, parse_macro_input};

use crate::options::Options;

/// Runs a function inside of a span, or generates a decorator for the implementations of a trait.
///
/// `#[traced]` names the span after the function. Options: `name = "…"`, `kind = Client`, `new_trace`,
/// `instrumentation = expression`, `fields(…)`. Nothing of the arguments is recorded that `fields` does not list. On a trait
/// `decorator = Name` names the decorator.
#[proc_macro_attribute]
pub fn traced(options: TokenStream, item: TokenStream) -> TokenStream {
    let options = parse_macro_input!(options as Options);
    let expanded = match parse_macro_input!(item as Item) {
        Item::Fn(function) => function::expand(options, function),
        Item::Trait(definition) => decorator::expand(options, definition),
        other => Err(syn::Error::new_spanned(
            other,
            "`#[traced]` is for traits, and for functions and methods with a body",
        )),
    };
    expanded.unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Implements `otel_tasks::ToAttributes` with the fields that have `#[attribute]`.
#[proc_macro_derive(Attributes, attributes(attribute))]
pub fn derive_attributes(item: TokenStream) -> TokenStream {
    let item = parse_macro_input!(item as DeriveInput);
    attributes::expand(item).unwrap_or_else(syn::Error::into_compile_error).into()
}
