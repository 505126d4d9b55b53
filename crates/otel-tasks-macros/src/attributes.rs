//! `#[derive(Attributes)]`.
//!
//! Follows the syntax that `crates/otel-tasks/README.md` documents.

use proc_macro2::TokenStream;
use quote::quote;
use syn::ext::IdentExt as _;
use syn::meta::ParseNestedMeta;
use syn::{Data, DeriveInput, Field, Fields, LitStr, Meta};

use crate::fields::Form;

pub(crate) fn expand(item: DeriveInput) -> syn::Result<TokenStream> {
    let Data::Struct(data) = &item.data else {
        return Err(syn::Error::new_spanned(&item.ident, "`Attributes` is derived for structs"));
    };
    let Fields::Named(fields) = &data.fields else {
        return Err(syn::Error::new_spanned(
            &item.ident,
            "`Attributes` is derived for structs with named fields",
        ));
    };
    let mut statements = Vec::new();
    for field in &fields.named {
        statements.extend(statement(field)?);
    }
    if statements.is_empty() {
        let message = "no field has `#[attribute]`, and nothing is recorded of the others";
        return Err(syn::Error::new_spanned(&item.ident, message));
    }
    let name = &item.ident;
    let (parameters, arguments, predicates) = item.generics.split_for_impl();
    Ok(quote! {
        impl #parameters ::otel_tasks::ToAttributes for #name #arguments #predicates {
            fn add_attributes(
                &self,
                mut __attributes: &mut ::std::vec::Vec<::otel_tasks::__private::KeyValue>,
            ) {
                #(#statements)*
            }
        }
    })
}

/// The statement that adds a field, if it is listed.
fn statement(field: &Field) -> syn::Result<Option<TokenStream>> {
    let mut listed = field.attrs.iter().filter(|attribute| attribute.path().is_ident("attribute"));
    let (Some(attribute), Some(name)) = (listed.next(), &field.ident) else { return Ok(None) };
    if let Some(second) = listed.next() {
        return Err(syn::Error::new_spanned(second, "`#[attribute]` is given twice"));
    }
    let (mut key, mut form, mut is_nested) = (name.unraw().to_string(), Form::Value, false);
    if !matches!(attribute.meta, Meta::Path(_)) {
        attribute.parse_nested_meta(|option| parse(&option, &mut key, &mut form, &mut is_nested))?;
    }
    Ok(Some(if is_nested {
        quote!(::otel_tasks::ToAttributes::add_attributes(&self.#name, &mut __attributes);)
    } else {
        form.push(&key, &quote!(self.#name))
    }))
}

fn parse(
    option: &ParseNestedMeta<'_>,
    key: &mut String,
    form: &mut Form,
    is_nested: &mut bool,
) -> syn::Result<()> {
    if option.path.is_ident("key") {
        *key = option.value()?.parse::<LitStr>()?.value();
    } else if option.path.is_ident("display") {
        *form = Form::Display;
    } else if option.path.is_ident("debug") {
        *form = Form::Debug;
    } else if option.path.is_ident("nested") {
        *is_nested = true;
    } else {
        return Err(option.error("unknown option; expected `key = \"…\"`, `display`, `debug` or `nested`"));
    }
    Ok(())
}
