//! spin.toml's variables: templates filled from defaults and the environment, read by guests
//! through `spin:variables`.

use std::collections::BTreeMap;
use std::sync::Arc;

use wasmtime::component::{Accessor, HasData};

use crate::RuntimeError;
use crate::bindings::variables::spin::variables::variables::{Error, Host, HostWithStore};
use crate::manifest::{ComponentManifest, Variable};

/// Prefix of the environment variables that give values, as in Spin.
const ENVIRONMENT_PREFIX: &str = "SPIN_VARIABLE_";

/// What one component may read, by name.
pub(crate) type Values = Arc<BTreeMap<String, String>>;

/// The text of a template: literal pieces and names, in turn.
fn pieces(template: &str) -> Result<Vec<(&str, Option<&str>)>, String> {
    let mut read = Vec::new();
    let mut rest = template;
    while let Some((literal, after)) = rest.split_once("{{") {
        let (name, after) =
            after.split_once("}}").ok_or_else(|| format!("`{template}` lacks a `}}}}`"))?;
        read.push((literal, Some(name.trim())));
        rest = after;
    }
    read.push((rest, None));
    Ok(read)
}

/// Whether a template names only variables that there are.
pub(crate) fn check(template: &str, variables: &BTreeMap<String, Variable>) -> Result<(), String> {
    for (_, name) in pieces(template)? {
        if let Some(name) = name.filter(|name| !variables.contains_key(*name)) {
            return Err(format!("no variable is called `{name}`"));
        }
    }
    Ok(())
}

/// The values that a component may read: from the environment (`SPIN_VARIABLE_NAME`), else the
/// default.
pub(crate) fn resolve(
    component: &ComponentManifest,
    variables: &BTreeMap<String, Variable>,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Values, RuntimeError> {
    let value = |name: &str| -> Result<String, String> {
        let given = environment(&format!("{ENVIRONMENT_PREFIX}{}", name.to_uppercase()));
        let default = || variables.get(name).and_then(|v| v.default.clone());
        given.or_else(default).ok_or_else(|| {
            format!(
                "variable `{name}` has no value: set {ENVIRONMENT_PREFIX}{}",
                name.to_uppercase()
            )
        })
    };
    let fill = |template: &str| -> Result<String, String> {
        let mut text = String::new();
        for (literal, name) in pieces(template)? {
            text.push_str(literal);
            if let Some(name) = name {
                text.push_str(&value(name)?);
            }
        }
        Ok(text)
    };
    let filled = component
        .variables
        .iter()
        .map(|(name, template)| Ok((name.clone(), fill(template).map_err(RuntimeError::Manifest)?)))
        .collect::<Result<_, RuntimeError>>()?;
    Ok(Arc::new(filled))
}

/// Names the view that the bindings are linked with.
pub(crate) struct Variables;

/// What a request's component may read.
pub(crate) struct VariablesView<'a>(pub(crate) &'a Values);

impl HasData for Variables {
    type Data<'a> = VariablesView<'a>;
}

impl Host for VariablesView<'_> {}

impl<T: Send> HostWithStore<T> for Variables {
    async fn get(
        accessor: &Accessor<T, Self>,
        name: String,
    ) -> wasmtime::Result<Result<String, Error>> {
        let value = accessor.with(|mut view| view.get().0.get(&name).cloned());
        Ok(value.ok_or(Error::Undefined(name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_filled_from_the_environment_then_the_defaults() {
        let variable = |default: Option<&str>| Variable {
            default: default.map(str::to_owned),
            ..Variable::default()
        };
        let variables = BTreeMap::from([
            ("host".to_owned(), variable(Some("a"))),
            ("port".to_owned(), variable(Some("80"))),
            ("secret".to_owned(), variable(None)),
        ]);
        let mut component = ComponentManifest::default();
        component.variables.insert("url".to_owned(), "x://{{ host }}:{{port}}/".to_owned());
        let given = |name: &str| (name == "SPIN_VARIABLE_PORT").then(|| "8080".to_owned());
        let values = resolve(&component, &variables, &given).unwrap();
        assert_eq!(values["url"], "x://a:8080/");

        component.variables.insert("s".to_owned(), "{{ secret }}".to_owned());
        let error = resolve(&component, &variables, &given).unwrap_err().to_string();
        assert!(error.contains("SPIN_VARIABLE_SECRET"), "{error}");
        assert!(check("{{ other }}", &variables).unwrap_err().contains("`other`"));
        assert!(check("{{ host", &variables).is_err());
    }
}
