//! Values that can be attributes of spans, for fields of `#[traced]` and `#[derive(Attributes)]`.
//!
//! Follows the [OpenTelemetry specification of
//! attributes](https://opentelemetry.io/docs/specs/otel/common/#attribute).

use std::borrow::Cow;
use std::sync::Arc;

use opentelemetry::{KeyValue, StringValue, Value};

/// A value that can be an attribute. Other types are recorded by their text, with `%` (`Display`) or `?` (`Debug`).
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an attribute of a span",
    note = "record its text with `%value` (`Display`) or `?value` (`Debug`)"
)]
pub trait AttributeValue {
    /// Returns the value, or `None` for an attribute that is left out. An integer beyond 64 bits with sign is a text.
    fn to_value(&self) -> Option<Value>;
}

/// The attributes of a value. `#[derive(Attributes)]` implements it for a struct.
pub trait ToAttributes {
    /// Adds the attributes to a list.
    fn add_attributes(&self, attributes: &mut Vec<KeyValue>);

    /// Returns the attributes.
    fn to_attributes(&self) -> Vec<KeyValue> {
        let mut attributes = Vec::new();
        self.add_attributes(&mut attributes);
        attributes
    }
}

impl<T: ToAttributes + ?Sized> ToAttributes for &T {
    fn add_attributes(&self, attributes: &mut Vec<KeyValue>) {
        (**self).add_attributes(attributes);
    }
}

macro_rules! integers {
    ($($type:ty),*) => {
        $(impl AttributeValue for $type {
            fn to_value(&self) -> Option<Value> {
                let text = |_| Value::String(StringValue::from(self.to_string()));
                Some(i64::try_from(*self).map_or_else(text, Value::I64))
            }
        })*
    };
}

integers!(i8, i16, i32, i64, i128, isize, u8, u16, u32, u64, u128, usize);

macro_rules! converted {
    ($($type:ty: $value:ident => $into:expr),* $(,)?) => {
        $(impl AttributeValue for $type {
            fn to_value(&self) -> Option<Value> {
                let $value = self;
                Some(Value::from($into))
            }
        })*
    };
}

converted! {
    bool: value => *value,
    f32: value => f64::from(*value),
    f64: value => *value,
    char: value => value.to_string(),
    str: value => value.to_owned(),
    String: value => value.clone(),
    Cow<'_, str>: value => value.clone().into_owned(),
    Value: value => value.clone(),
}

impl<T: AttributeValue + ?Sized> AttributeValue for &T {
    fn to_value(&self) -> Option<Value> {
        (**self).to_value()
    }
}

impl<T: AttributeValue + ?Sized> AttributeValue for Box<T> {
    fn to_value(&self) -> Option<Value> {
        (**self).to_value()
    }
}

impl<T: AttributeValue + ?Sized> AttributeValue for Arc<T> {
    fn to_value(&self) -> Option<Value> {
        (**self).to_value()
    }
}

impl<T: AttributeValue> AttributeValue for Option<T> {
    fn to_value(&self) -> Option<Value> {
        self.as_ref().and_then(T::to_value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_become_attributes() {
        assert_eq!(7_u64.to_value(), Some(Value::I64(7)));
        assert_eq!(u64::MAX.to_value(), Some(Value::from(u64::MAX.to_string())));
        assert_eq!((-7_i128).to_value(), Some(Value::I64(-7)));
        assert_eq!(0.5_f32.to_value(), Some(Value::F64(0.5)));
        assert_eq!(true.to_value(), Some(Value::Bool(true)));
        for text in [&"x" as &dyn AttributeValue, &String::from("x"), &'x', &Cow::Borrowed("x")] {
            assert_eq!(text.to_value(), Some(Value::from("x")));
        }
        assert_eq!(Box::<str>::from("x").to_value(), Arc::<str>::from("x").to_value());
        assert_eq!(None::<u8>.to_value(), None);
        assert_eq!(Some(&7).to_value(), Some(Value::I64(7)));
    }
}
