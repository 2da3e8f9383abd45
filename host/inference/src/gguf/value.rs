//! The values of GGUF's metadata.

use super::reader::Reader;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A whole number of any width.
    Integer(i128),
    /// A float of either width.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// UTF-8.
    String(String),
    /// Values of one type.
    Array(Array),
}

/// Values of one type.
#[derive(Clone, Debug, PartialEq)]
pub enum Array {
    /// Whole numbers of any width, truth values as 0 and 1.
    Integers(Vec<i64>),
    /// Floats of either width.
    Floats(Vec<f64>),
    /// Texts.
    Strings(Vec<String>),
}

/// The types by their numbers in the file.
#[derive(Clone, Copy)]
enum Kind {
    Unsigned(usize),
    Signed(usize),
    Float(usize),
    Bool,
    String,
    Array,
}

impl Kind {
    fn read(reader: &mut Reader, key: &str) -> Result<Kind, String> {
        Ok(match reader.u32(&what(key))? {
            0 => Kind::Unsigned(1),
            1 => Kind::Signed(1),
            2 => Kind::Unsigned(2),
            3 => Kind::Signed(2),
            4 => Kind::Unsigned(4),
            5 => Kind::Signed(4),
            6 => Kind::Float(4),
            7 => Kind::Bool,
            8 => Kind::String,
            9 => Kind::Array,
            10 => Kind::Unsigned(8),
            11 => Kind::Signed(8),
            12 => Kind::Float(8),
            other => return Err(format!("{} is of the unknown type {other}", what(key))),
        })
    }

    /// Bytes that a value takes at least.
    fn least(self) -> usize {
        match self {
            Kind::Unsigned(size) | Kind::Signed(size) | Kind::Float(size) => size,
            Kind::Bool => 1,
            Kind::String => 8,
            Kind::Array => 12,
        }
    }
}

fn what(key: &str) -> String {
    format!("key `{key}`")
}

impl Value {
    /// The value of `key`, whose name is read already.
    pub(super) fn read(reader: &mut Reader, key: &str) -> Result<Value, String> {
        let kind = Kind::read(reader, key)?;
        if !matches!(kind, Kind::Array) {
            return scalar(reader, kind, key);
        }
        let kind = Kind::read(reader, key)?;
        let count = reader.count(&what(key), kind.least())?;
        let mut each = |_| scalar(reader, kind, key);
        let wrong = || format!("{} has values of several types", what(key));
        Ok(Value::Array(match kind {
            Kind::Float(_) => Array::Floats(
                (0..count)
                    .map(|i| each(i)?.as_f64().ok_or_else(wrong))
                    .collect::<Result<_, String>>()?,
            ),
            Kind::String => Array::Strings(
                (0..count)
                    .map(|i| match each(i)? {
                        Value::String(text) => Ok(text),
                        _ => Err(wrong()),
                    })
                    .collect::<Result<_, String>>()?,
            ),
            Kind::Array => return Err(format!("{} is an array of arrays", what(key))),
            _ => Array::Integers(
                (0..count)
                    .map(|i| match each(i)? {
                        Value::Integer(x) => i64::try_from(x).map_err(|_| wrong()),
                        Value::Bool(x) => Ok(i64::from(x)),
                        _ => Err(wrong()),
                    })
                    .collect::<Result<_, String>>()?,
            ),
        }))
    }

    /// A whole number that a size may be.
    pub fn as_usize(&self) -> Option<usize> {
        match self {
            Value::Integer(x) => usize::try_from(*x).ok(),
            _ => None,
        }
    }

    /// A float.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Value::Float(x) => Some(*x),
            _ => None,
        }
    }

    /// A truth value.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Bool(x) => Some(*x),
            _ => None,
        }
    }

    /// A text.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// Texts.
    pub fn as_strings(&self) -> Option<&[String]> {
        match self {
            Value::Array(Array::Strings(texts)) => Some(texts),
            _ => None,
        }
    }

    /// Whole numbers.
    pub fn as_integers(&self) -> Option<&[i64]> {
        match self {
            Value::Array(Array::Integers(numbers)) => Some(numbers),
            _ => None,
        }
    }

    /// Floats.
    pub fn as_floats(&self) -> Option<&[f64]> {
        match self {
            Value::Array(Array::Floats(numbers)) => Some(numbers),
            _ => None,
        }
    }
}

fn scalar(reader: &mut Reader, kind: Kind, key: &str) -> Result<Value, String> {
    let what = what(key);
    Ok(match kind {
        Kind::Unsigned(size) => {
            let mut bytes = [0; 16];
            bytes[..size].copy_from_slice(reader.take(size, &what)?);
            Value::Integer(i128::from_le_bytes(bytes))
        }
        Kind::Signed(size) => {
            let taken = reader.take(size, &what)?;
            let sign = if taken.last().is_some_and(|byte| *byte > 127) { 0xff } else { 0 };
            let mut bytes = [sign; 16];
            bytes[..size].copy_from_slice(taken);
            Value::Integer(i128::from_le_bytes(bytes))
        }
        Kind::Float(4) => Value::Float(f64::from(f32::from_le_bytes(reader.array(&what)?))),
        Kind::Float(_) => Value::Float(f64::from_le_bytes(reader.array(&what)?)),
        Kind::Bool => match reader.array(&what)? {
            [0] => Value::Bool(false),
            [1] => Value::Bool(true),
            [other] => return Err(format!("{what} is neither true nor false but {other}")),
        },
        Kind::String => Value::String(reader.string(&what)?),
        Kind::Array => return Err(format!("{what} is an array of arrays")),
    })
}
