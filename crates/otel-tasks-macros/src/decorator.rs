//! `#[traced]` on traits: a decorator for the implementations of the trait, whose methods run inside of spans.
//!
//! Follows the [OpenTelemetry tracing API](https://opentelemetry.io/docs/specs/otel/trace/api/#span).

use proc_macro2::TokenStream;
use quote::{ToTokens, format_ident, quote};
use syn::ext::IdentExt as _;
use syn::{
    Attribute, FnArg, GenericParam, Generics, Ident, ItemTrait, Pat, Receiver, ReceiverKind, ReturnType,
    Safety, TraitItem, TraitItemFn, Type, parse_quote,
};

use crate::function::traced_body;
use crate::options::Options;

pub(crate) fn expand(options: Options, mut definition: ItemTrait) -> syn::Result<TokenStream> {
    options.for_trait()?;
    if let Some(keyword) = &definition.unsafety {
        return Err(syn::Error::new_spanned(keyword, "an `unsafe` trait cannot be traced"));
    }
    let decorator =
        options.decorator.clone().unwrap_or_else(|| format_ident!("Traced{}", definition.ident.unraw()));
    let mut items = Vec::new();
    for item in &mut definition.items {
        items.push(decorated(item, &definition.ident, &options)?);
    }
    let ItemTrait { attrs, vis, ident, generics, .. } = &definition;
    let (_, arguments, _) = generics.split_for_impl();
    let mut of_impl = generics.clone();
    of_impl.params.push(parse_quote!(__Inner));
    let bounds = quote!(#ident #arguments + ::std::marker::Send + ::std::marker::Sync);
    of_impl.make_where_clause().predicates.push(parse_quote!(__Inner: #bounds));
    let (parameters, _, predicates) = of_impl.split_for_impl();
    // `#[async_trait]` rewrites the implementation as it does the trait.
    let rewriting = attrs.iter().filter(|attribute| is_named(attribute, "async_trait"));
    let documentation =
        format!("Decorator: runs the methods of an implementation of [`{ident}`] inside of spans.");
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
        #[allow(deprecated, reason = "the decorator has the methods of its trait")]
        impl #parameters #ident #arguments for #decorator<__Inner>
        #predicates
        {
            #(#items)*
        }
    })
}

/// The item of the decorator for an item of the trait.
fn decorated(item: &mut TraitItem, definition: &Ident, options: &Options) -> syn::Result<TokenStream> {
    match item {
        TraitItem::Fn(method) => {
            let own = take_options(&mut method.attrs)?;
            own.as_ref().map_or(Ok(()), Options::for_method)?;
            let is_skipped = own.as_ref().is_some_and(|own| own.skip.is_some());
            let options = own.unwrap_or_default().or(options);
            let conditions = conditions(&method.attrs);
            let method = decorated_method(method, definition, &options, is_skipped)?;
            Ok(quote!(#conditions #method))
        }
        TraitItem::Type(alias) if alias.generics.params.is_empty() => {
            let (name, conditions) = (&alias.ident, conditions(&alias.attrs));
            Ok(quote!(#conditions type #name = __Inner::#name;))
        }
        TraitItem::Const(constant) => {
            let (name, ty, conditions) = (&constant.ident, &constant.ty, conditions(&constant.attrs));
            Ok(quote!(#conditions const #name: #ty = __Inner::#name;))
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
    let mut sig = method.sig.clone();
    if let Safety::Unsafe(keyword) = &sig.safety {
        return Err(syn::Error::new_spanned(keyword, "a traced trait cannot have an `unsafe` method"));
    }
    let mut arguments = Vec::new();
    let mut has_receiver = false;
    for argument in &mut sig.inputs {
        arguments.push(match argument {
            FnArg::Receiver(receiver) => {
                has_receiver = true;
                inner(receiver)?
            }
            FnArg::Typed(argument) => match &mut *argument.pat {
                Pat::Ident(name) => {
                    // Of the default implementation, to which the decorator only passes it on.
                    name.mutability = None;
                    name.ident.to_token_stream()
                }
                other => {
                    return Err(syn::Error::new_spanned(other, "an argument of a traced trait needs a name"));
                }
            },
        });
    }
    let name = &sig.ident;
    let generics = turbofish(&sig.generics);
    let awaited = sig.asyncness.map(|_| quote!(.await));
    let mut call = quote!(__Inner::#name #generics(#(#arguments),*)#awaited);
    if returns_self(&sig.output) {
        call = quote!(Self { inner: #call });
    }
    let body = if has_receiver && !is_skipped {
        traced_body(&sig, &options.start(&format!("{}::{}", definition.unraw(), name.unraw())), &call)
    } else {
        call
    };
    Ok(quote!(#sig { #body }))
}

/// Returns true for `-> Self`, which is the implementation's type where the method is called.
fn returns_self(output: &ReturnType) -> bool {
    let ReturnType::Type(_, output) = output else { return false };
    matches!(&**output, Type::Path(output) if output.path.is_ident("Self"))
}

/// The types and constants of a generic method, which its arguments need not show.
fn turbofish(generics: &Generics) -> Option<TokenStream> {
    let names: Vec<&Ident> = generics
        .params
        .iter()
        .filter_map(|parameter| match parameter {
            GenericParam::Type(parameter) => Some(&parameter.ident),
            GenericParam::Const(parameter) => Some(&parameter.ident),
            GenericParam::Lifetime(_) => None,
        })
        .collect();
    (!names.is_empty()).then(|| quote!(::<#(#names),*>))
}

/// The `#[cfg]`s of an item, which exists in the decorator where it exists in the trait.
fn conditions(attributes: &[Attribute]) -> TokenStream {
    let conditions = attributes.iter().filter(|attribute| is_named(attribute, "cfg"));
    quote!(#(#conditions)*)
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
