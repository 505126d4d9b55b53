//! `#[traced]` on traits: a decorator for the implementations of the trait, whose methods run inside of spans.
//!
//! Follows the [OpenTelemetry tracing API](https://opentelemetry.io/docs/specs/otel/trace/api/#span).

use proc_macro2::TokenStream;
use quote::{ToTokens, format_ident, quote};
use syn::{Attribute, FnArg, Ident, ItemTrait, Pat, Receiver, ReceiverKind, TraitItem, TraitItemFn};

use crate::function::traced_body;
use crate::options::Options;

pub(crate) fn expand(options: Options, mut definition: ItemTrait) -> syn::Result<TokenStream> {
    refuse_function_options(&options)?;
    let decorator = options.decorator.clone().unwrap_or_else(|| format_ident!("Traced{}", definition.ident));
    let mut items = Vec::new();
    for item in &mut definition.items {
        items.push(decorated(item, &definition.ident, &options)?);
    }
    let ItemTrait { attrs, vis, ident, generics, .. } = &definition;
    let (_, arguments, predicates) = generics.split_for_impl();
    let parameters = &generics.params;
    let predicates = predicates.map(|clause| &clause.predicates);
    // `#[async_trait]` rewrites the implementation as it does the trait.
    let rewriting = attrs.iter().filter(|attribute| is_named(attribute, "async_trait"));
    let documentation =
        format!("Decorator: runs the methods of an implementation of [`{ident}`] inside of spans.");
    let separator = (!parameters.is_empty() && !parameters.trailing_punct()).then(|| quote!(,));
    Ok(quote! {
        #definition

        #[doc = #documentation]
        #[derive(Clone, Debug)]
        #vis struct #decorator<__Inner> {
            inner: __Inner,
        }

        impl<__Inner> #decorator<__Inner> {
            /// Decorates an implementation.
            #vis fn new(inner: __Inner) -> Self {
                Self { inner }
            }

            /// Returns the implementation.
            #vis fn into_inner(self) -> __Inner {
                self.inner
            }
        }

        #(#rewriting)*
        impl<#parameters #separator __Inner> #ident #arguments for #decorator<__Inner>
        where
            __Inner: #ident #arguments + ::std::marker::Send + ::std::marker::Sync,
            #predicates
        {
            #(#items)*
        }
    })
}

fn refuse_function_options(options: &Options) -> syn::Result<()> {
    if let Some(name) = &options.name {
        return Err(syn::Error::new(
            name.span(),
            "`name` is an option of functions and of a trait's methods",
        ));
    }
    match options.skip {
        Some(span) => Err(syn::Error::new(span, "`skip` is an option of a trait's methods")),
        None => Ok(()),
    }
}

/// The item of the decorator for an item of the trait.
fn decorated(item: &mut TraitItem, definition: &Ident, options: &Options) -> syn::Result<TokenStream> {
    match item {
        TraitItem::Fn(method) => {
            let own = take_options(&mut method.attrs)?;
            let is_skipped = own.as_ref().is_some_and(|own| own.skip.is_some());
            let options = own.unwrap_or_default().or(options);
            decorated_method(method, definition, &options, is_skipped)
        }
        TraitItem::Type(alias) if alias.generics.params.is_empty() => {
            let name = &alias.ident;
            Ok(quote!(type #name = __Inner::#name;))
        }
        TraitItem::Const(constant) => {
            let (name, ty) = (&constant.ident, &constant.ty);
            Ok(quote!(const #name: #ty = __Inner::#name;))
        }
        other => Err(syn::Error::new_spanned(other, "a traced trait cannot have this item")),
    }
}

fn decorated_method(
    method: &TraitItemFn,
    definition: &Ident,
    options: &Options,
    is_skipped: bool,
) -> syn::Result<TokenStream> {
    let sig = &method.sig;
    let name = &sig.ident;
    let mut arguments = Vec::new();
    let mut has_receiver = false;
    for argument in &sig.inputs {
        arguments.push(match argument {
            FnArg::Receiver(receiver) => {
                has_receiver = true;
                inner(receiver)?
            }
            FnArg::Typed(argument) => match &*argument.pat {
                Pat::Ident(name) => name.ident.to_token_stream(),
                other => {
                    return Err(syn::Error::new_spanned(other, "an argument of a traced trait needs a name"));
                }
            },
        });
    }
    let awaited = sig.asyncness.map(|_| quote!(.await));
    let call = quote!({ __Inner::#name(#(#arguments),*)#awaited });
    let body = if has_receiver && !is_skipped {
        traced_body(sig, &options.start(&format!("{definition}::{name}")), &call)
    } else {
        call
    };
    Ok(quote!(#sig { #body }))
}

/// The implementation behind a receiver.
fn inner(receiver: &Receiver) -> syn::Result<TokenStream> {
    match &receiver.kind {
        ReceiverKind::Reference(_, _, Some(_)) => Ok(quote!(&mut self.inner)),
        ReceiverKind::Reference(_, _, None) => Ok(quote!(&self.inner)),
        ReceiverKind::Value => Ok(quote!(self.inner)),
        _ => {
            let message = "a method of a traced trait takes `&self`, `&mut self` or `self`";
            Err(syn::Error::new_spanned(receiver, message))
        }
    }
}

/// Removes the `#[traced(…)]` of a method, whose options they are.
fn take_options(attributes: &mut Vec<Attribute>) -> syn::Result<Option<Options>> {
    let Some(place) = attributes.iter().position(|attribute| is_named(attribute, "traced")) else {
        return Ok(None);
    };
    attributes.remove(place).parse_args().map(Some)
}

fn is_named(attribute: &Attribute, name: &str) -> bool {
    attribute.path().segments.last().is_some_and(|segment| segment.ident == name)
}
