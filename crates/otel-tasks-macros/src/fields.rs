//! The fields that `#[traced]` records: an allow-list, because nothing is recorded that it does not name.
//!
//! Follows the syntax that `crates/otel-tasks/README.md` documents.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::ext::IdentExt as _;
use syn::parse::{Parse, ParseStream};
use syn::{Expr, Ident, LitStr, Token};

/// One field.
pub(crate) enum Field {
    /// `id`, or `"user.id" = expression`.
    Value { key: String, form: Form, value: Expr },
    /// `..expression`: the attributes of a value that has `ToAttributes`.
    All(Expr),
}

/// The way in which a value becomes an attribute.
#[derive(Clone, Copy)]
pub(crate) enum Form {
    Value,
    Display,
    Debug,
}

impl Parse for Field {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        if input.peek(Token![..]) {
            input.parse::<Token![..]>()?;
            return Ok(Self::All(input.parse()?));
        }
        if input.peek(LitStr) {
            let key: LitStr = input.parse()?;
            input.parse::<Token![=]>()?;
            let form = Form::parse(input)?;
            return Ok(Self::Value { key: key.value(), form, value: input.parse()? });
        }
        let form = Form::parse(input)?;
        let argument: Ident = input.parse().map_err(|error| {
            syn::Error::new(
                error.span(),
                "expected an argument's name, `\"key\" = expression` or `..expression`",
            )
        })?;
        if input.peek(Token![=]) {
            let message = format!("a key is a string: `\"{argument}\" = …`");
            return Err(syn::Error::new(argument.span(), message));
        }
        let value = syn::parse_quote!(#argument);
        Ok(Self::Value { key: argument.unraw().to_string(), form, value })
    }
}

impl Form {
    /// `%` for the text by `Display`, `?` for that by `Debug`.
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        if input.peek(Token![%]) {
            input.parse::<Token![%]>()?;
            return Ok(Self::Display);
        }
        if input.peek(Token![?]) {
            input.parse::<Token![?]>()?;
            return Ok(Self::Debug);
        }
        Ok(Self::Value)
    }

    /// The statement that adds the value of an expression to `__attributes`.
    pub(crate) fn push(self, key: &str, value: &TokenStream) -> TokenStream {
        let value = match self {
            Self::Value => quote!(::otel_tasks::AttributeValue::to_value(&(#value))),
            Self::Display => quote!(::std::option::Option::Some(::std::format!("{}", #value).into())),
            Self::Debug => quote!(::std::option::Option::Some(::std::format!("{:?}", #value).into())),
        };
        quote!(::otel_tasks::__private::push(&mut __attributes, #key, #value);)
    }
}

impl ToTokens for Field {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        tokens.extend(match self {
            Self::Value { key, form, value } => form.push(key, &value.to_token_stream()),
            Self::All(value) => quote! {
                ::otel_tasks::ToAttributes::add_attributes(&(#value), &mut __attributes);
            },
        });
    }
}
