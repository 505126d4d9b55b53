//! The options of `#[traced]`.
//!
//! Follows the syntax that `crates/otel-tasks/README.md` documents.

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Expr, Ident, LitStr, Token, parenthesized};

use crate::fields::Field;

/// The kinds of spans, by the names of `opentelemetry::trace::SpanKind`.
const KINDS: [&str; 5] = ["Client", "Server", "Producer", "Consumer", "Internal"];

#[derive(Default)]
pub(crate) struct Options {
    pub(crate) name: Option<LitStr>,
    kind: Option<Ident>,
    fields: Option<Vec<Field>>,
    /// The place of `fields`, for errors.
    fields_at: Option<Span>,
    instrumentation: Option<Expr>,
    new_trace: Option<Span>,
    /// On traits.
    pub(crate) decorator: Option<Ident>,
    /// On methods of traits.
    pub(crate) skip: Option<Span>,
}

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let mut options = Self::default();
        while !input.is_empty() {
            options.parse_one(input)?;
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(options)
    }
}

impl Options {
    fn parse_one(&mut self, input: ParseStream<'_>) -> syn::Result<()> {
        let option: Ident = input.parse().map_err(|error| {
            syn::Error::new(error.span(), "expected an option, such as `name = \"load user\"`")
        })?;
        match option.to_string().as_str() {
            "name" => set(&mut self.name, &option, value(input)?),
            "kind" => {
                let kind: Ident = value(input)?;
                if !KINDS.iter().any(|known| kind == known) {
                    return Err(syn::Error::new(
                        kind.span(),
                        format!("unknown kind; expected one of {}", KINDS.join(", ")),
                    ));
                }
                set(&mut self.kind, &option, kind)
            }
            "fields" => {
                let list;
                parenthesized!(list in input);
                let fields = Punctuated::<Field, Token![,]>::parse_terminated(&list)?;
                self.fields_at = Some(option.span());
                set(&mut self.fields, &option, fields.into_iter().collect())
            }
            "instrumentation" => set(&mut self.instrumentation, &option, value(input)?),
            "new_trace" => set(&mut self.new_trace, &option, option.span()),
            "decorator" => set(&mut self.decorator, &option, value(input)?),
            "skip" => set(&mut self.skip, &option, option.span()),
            _ => Err(syn::Error::new(
                option.span(),
                "unknown option; expected `name`, `kind`, `fields`, `new_trace` or `instrumentation`",
            )),
        }
    }

    /// Refuses the options of traits and of their methods on a function.
    pub(crate) fn for_function(&self) -> syn::Result<()> {
        self.for_method()?;
        match self.skip {
            Some(span) => Err(syn::Error::new(span, "`skip` is an option of the methods of a traced trait")),
            None => Ok(()),
        }
    }

    /// Refuses the options of functions and of a trait's methods on a trait.
    pub(crate) fn for_trait(&self) -> syn::Result<()> {
        let refused = |span, option: &str| {
            Err(syn::Error::new(
                span,
                format!("`{option}` is an option of functions and of a trait's methods"),
            ))
        };
        match (&self.name, self.fields_at, self.skip) {
            (Some(name), ..) => refused(name.span(), "name"),
            (_, Some(span), _) => refused(span, "fields"),
            (.., Some(span)) => Err(syn::Error::new(span, "`skip` is an option of a trait's methods")),
            _ => Ok(()),
        }
    }

    /// Refuses the options of traits on a method of one.
    pub(crate) fn for_method(&self) -> syn::Result<()> {
        match &self.decorator {
            Some(decorator) => Err(syn::Error::new(decorator.span(), "`decorator` is an option of traits")),
            None => Ok(()),
        }
    }

    /// Takes what a method of a trait does not set from the options of the trait.
    pub(crate) fn or(mut self, definition: &Self) -> Self {
        self.kind = self.kind.or_else(|| definition.kind.clone());
        self.instrumentation = self.instrumentation.or_else(|| definition.instrumentation.clone());
        self.new_trace = self.new_trace.or(definition.new_trace);
        self
    }

    /// The expression that starts the span, before the arguments are moved.
    pub(crate) fn start(&self, default_name: &str) -> TokenStream {
        let name = self.name.as_ref().map_or_else(|| quote!(#default_name), |name| quote!(#name));
        let kind = self.kind.iter();
        let new_trace = self.new_trace.iter().map(|_| quote!(.with_new_trace()));
        let instrumentation = self.instrumentation.iter();
        let attributes = self.fields.as_ref().filter(|fields| !fields.is_empty()).map(|fields| {
            quote!(.with_attributes(|| {
                let mut __attributes = ::std::vec::Vec::new();
                #(#fields)*
                __attributes
            }))
        });
        quote! {
            ::otel_tasks::__private::start(
                ::otel_tasks::TaskSpan::new(#name)
                    #(.with_kind(::otel_tasks::__private::SpanKind::#kind))*
                    #(#new_trace)*
                    #(.with_instrumentation(#instrumentation))*
                    #attributes
            )
        }
    }
}

/// The value after `=`.
fn value<T: Parse>(input: ParseStream<'_>) -> syn::Result<T> {
    input.parse::<Token![=]>()?;
    input.parse()
}

fn set<T>(place: &mut Option<T>, option: &Ident, value: T) -> syn::Result<()> {
    match place.replace(value) {
        Some(_) => Err(syn::Error::new(option.span(), format!("`{option}` is given twice"))),
        None => Ok(()),
    }
}
