//! `#[traced]` on functions and methods.
//!
//! Follows the [OpenTelemetry tracing API](https://opentelemetry.io/docs/specs/otel/trace/api/#span).

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::ext::IdentExt as _;
use syn::punctuated::Punctuated;
use syn::visit::{self, Visit};
use syn::{
    GenericArgument, ItemFn, PathArguments, PathSegment, ReturnType, Signature, Token, Type, TypeImplTrait,
    TypeParamBound,
};

use crate::options::Options;

pub(crate) fn expand(options: Options, function: ItemFn) -> syn::Result<TokenStream> {
    options.for_function()?;
    let ItemFn { attrs, vis, sig, block, .. } = function;
    if let Some(constant) = &sig.constness {
        return Err(syn::Error::new_spanned(constant, "a `const` function cannot be traced"));
    }
    let start = options.start(&sig.ident.unraw().to_string());
    // Without the braces of the function, which would be those of a block in a block.
    let statements = &block.stmts;
    let body = traced_body(&sig, &start, &quote!(#(#statements)*));
    Ok(quote!(#(#attrs)* #vis #sig { #body }))
}

/// The body of a function that runs `body` inside of the span that `start` starts.
pub(crate) fn traced_body(sig: &Signature, start: &TokenStream, body: &TokenStream) -> TokenStream {
    let outcome = match returns_never(&sig.output) {
        true => quote!(|_| ::otel_tasks::Outcome::ok()),
        false => quote!(|__output| {
            use ::otel_tasks::__private::{AnyOutcome as _, KnownOutcome as _};
            (&&::otel_tasks::__private::output(__output)).outcome()
        }),
    };
    let output = match &sig.output {
        ReturnType::Default => quote!(()),
        ReturnType::Type(_, output) => output.to_token_stream(),
    };
    if sig.asyncness.is_some() {
        let body = typed(&sig.output, &output, body);
        return quote! {
            let __operation = #start;
            ::otel_tasks::__private::run(__operation, async move { #body }, #outcome).await
        };
    }
    if returns_future(&sig.output) {
        return quote! {
            let __operation = #start;
            ::otel_tasks::__private::run_future(__operation, move || { #body }, #outcome)
        };
    }
    if returns_boxed_future(&sig.output) {
        return quote! {
            let __operation = #start;
            ::std::boxed::Box::pin(
                ::otel_tasks::__private::run_future(__operation, move || -> #output { #body }, #outcome)
            )
        };
    }
    let output = (!contains_impl_trait(&sig.output)).then(|| quote!(-> #output));
    quote! {
        let __operation = #start;
        ::otel_tasks::__private::run_sync(__operation, move || #output { #body }, #outcome)
    }
}

/// An async block has no place for its type: a `return` that never runs gives it, so that `?` knows its target.
fn typed(declared: &ReturnType, output: &TokenStream, body: &TokenStream) -> TokenStream {
    if returns_never(declared) || contains_impl_trait(declared) {
        return body.clone();
    }
    quote! {
        if let ::std::option::Option::Some(__output) = ::std::option::Option::None::<#output> {
            return __output;
        }
        let __output: #output = { #body };
        #[allow(unreachable_code, reason = "all paths of the body may return")]
        return __output;
    }
}

fn returns_never(output: &ReturnType) -> bool {
    matches!(output, ReturnType::Type(_, output) if matches!(**output, Type::Never(_)))
}

fn contains_impl_trait(output: &ReturnType) -> bool {
    struct Finder(bool);
    impl Visit<'_> for Finder {
        fn visit_type_impl_trait(&mut self, _: &TypeImplTrait) {
            self.0 = true;
        }
    }
    let mut finder = Finder(false);
    visit::visit_return_type(&mut finder, output);
    finder.0
}

/// Returns true for `-> impl Future<…>`, whose work is done when it is polled.
fn returns_future(output: &ReturnType) -> bool {
    let ReturnType::Type(_, output) = output else { return false };
    let Type::ImplTrait(opaque) = &**output else { return false };
    is_future(&opaque.bounds)
}

fn is_future(bounds: &Punctuated<TypeParamBound, Token![+]>) -> bool {
    bounds.iter().any(|bound| match bound {
        TypeParamBound::Trait(bound) => {
            bound.path.segments.last().is_some_and(|segment| segment.ident == "Future")
        }
        _ => false,
    })
}

/// Returns true for `-> Pin<Box<dyn Future<…>>>`, to which `#[async_trait]` rewrites an async method, and for the names that
/// `futures` has for it.
fn returns_boxed_future(output: &ReturnType) -> bool {
    let ReturnType::Type(_, output) = output else { return false };
    let Some(name) = last_segment(output) else { return false };
    if name.ident == "BoxFuture" || name.ident == "LocalBoxFuture" {
        return true;
    }
    let boxed = (name.ident == "Pin").then(|| only_argument(name)).flatten().and_then(last_segment);
    let inner = boxed.filter(|name| name.ident == "Box").and_then(only_argument);
    matches!(inner, Some(Type::TraitObject(object)) if is_future(&object.bounds))
}

fn last_segment(path: &Type) -> Option<&PathSegment> {
    match path {
        Type::Path(path) => path.path.segments.last(),
        _ => None,
    }
}

fn only_argument(name: &PathSegment) -> Option<&Type> {
    let PathArguments::AngleBracketed(arguments) = &name.arguments else { return None };
    match arguments.args.first() {
        Some(GenericArgument::Type(argument)) => Some(argument),
        _ => None,
    }
}
