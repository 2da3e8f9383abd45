//! trine's table among the tools': `[application.tool.trine]`.

use std::collections::BTreeMap;
use std::str::FromStr;

use toml::{Table, Value};
use trine_inference::{DeviceChoice, PrecisionOption};

use super::{nothing_left, refuse, sub_table, take};
use crate::RuntimeError;

/// What it says.
pub(super) struct Own {
    pub(super) devices: BTreeMap<String, DeviceChoice>,
    pub(super) precisions: BTreeMap<String, PrecisionOption>,
    pub(super) writes: bool,
}

impl Own {
    /// Other tools' tables are theirs.
    pub(super) fn read(application: &mut Table) -> Result<Own, RuntimeError> {
        let mut tools = sub_table(application, "tool")?;
        let mut own = sub_table(&mut tools, "trine")?;
        let (devices, precisions) =
            (choices(&mut own, "devices")?, choices(&mut own, "precisions")?);
        let writes = match take(&mut own, "writes") {
            None => false,
            Some(Value::Boolean(writes)) => writes,
            Some(_) => {
                return refuse("application.tool.trine.writes must be true or false".to_owned());
            }
        };
        nothing_left("application.tool.trine", &own)?;
        Ok(Own { devices, precisions, writes })
    }
}

/// A table of models' names and what is chosen for them.
fn choices<T: FromStr<Err = String>>(
    own: &mut Table,
    key: &str,
) -> Result<BTreeMap<String, T>, RuntimeError> {
    let choice = |(model, value): (String, Value)| {
        let choice = value.as_str().ok_or("it is no text".to_owned()).and_then(str::parse);
        match choice {
            Ok(choice) => Ok((model, choice)),
            Err(e) => refuse(format!("application.tool.trine.{key}, `{model}`: {e}")),
        }
    };
    sub_table(own, key)?.into_iter().map(choice).collect()
}
