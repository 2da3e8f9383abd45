//! spin.toml: which component answers which path, and what it is made of.
//!
//! The manifest is Spin's (format version 2), so that one file describes the application to Spin
//! and to this host. This host supports what trine's components use; anything else is refused by
//! its name, never ignored.

mod own;

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::{Table, Value};
use trine_inference::{DeviceChoice, PrecisionOption};

use crate::RuntimeError;
use own::Own;

/// An application, checked.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The application's name.
    pub name: String,
    /// Its HTTP routes, the more specific before the less.
    pub routes: Vec<Route>,
    /// Its components, by id.
    pub components: BTreeMap<String, ComponentManifest>,
    /// Its variables, by name.
    pub variables: BTreeMap<String, Variable>,
    /// Where models compute, by the models' names: `[application.tool.trine.devices]`.
    pub devices: BTreeMap<String, DeviceChoice>,
    /// In which numbers the CPU multiplies them: `[application.tool.trine.precisions]`.
    pub precisions: BTreeMap<String, PrecisionOption>,
    /// Whether its generators have a language model write by themselves, so that none is put in front of
    /// them: `application.tool.trine.writes`.
    pub writes: bool,
}

/// A path and the component that answers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    path: String,
    wildcard: bool,
    /// The component's id.
    pub component: String,
}

/// One component.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ComponentManifest {
    /// File of the component.
    pub source: String,
    /// Files of the components that satisfy its imports, by the import they satisfy.
    pub dependencies: BTreeMap<String, String>,
    /// Files of components put in front of those (see [`crate::compose`]); no manifest says so.
    pub fronts: Vec<String>,
    /// Its environment variables.
    pub environment: BTreeMap<String, String>,
    /// Templates of the variables it may read: text with `{{ name }}` in it.
    pub variables: BTreeMap<String, String>,
}

/// An application variable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variable {
    /// Its value when nobody gives one.
    pub default: Option<String>,
    /// Whether somebody must.
    #[serde(default)]
    pub required: bool,
    /// Whether it must not be shown.
    #[serde(default)]
    pub secret: bool,
    /// What it is.
    pub description: Option<String>,
}

impl Route {
    fn parse(path: &str, component: &str) -> Result<Route, RuntimeError> {
        let (plain, wildcard) = match path.strip_suffix("/...") {
            Some(prefix) => (prefix, true),
            None => (path, false),
        };
        let well_formed = plain.starts_with('/') || wildcard && plain.is_empty();
        if !well_formed || plain.contains("...") || plain.contains(':') || plain.contains('*') {
            return refuse(format!(
                "route `{path}` is not supported: give a path like `/health`, or a prefix like \
                 `/v1/...`"
            ));
        }
        Ok(Route { path: plain.to_owned(), wildcard, component: component.to_owned() })
    }

    fn matches(&self, path: &str) -> bool {
        if !self.wildcard {
            return path == self.path;
        }
        path.strip_prefix(&self.path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl Manifest {
    /// Reads the text of a spin.toml.
    pub fn parse(text: &str) -> Result<Manifest, RuntimeError> {
        let mut table: Table =
            toml::from_str(text).map_err(|e| RuntimeError::Manifest(e.to_string()))?;
        match take(&mut table, "spin_manifest_version") {
            Some(Value::Integer(2)) => {}
            other => return refuse(format!("spin_manifest_version must be 2, it is {other:?}")),
        }
        let mut application = sub_table(&mut table, "application")?;
        let name = string(&mut application, "application", "name")?;
        for known in ["version", "description", "authors"] {
            application.remove(known);
        }
        let Own { devices, precisions, writes } = Own::read(&mut application)?;
        nothing_left("application", &application)?;
        let variables = variables(&mut table)?;
        let routes = routes(&mut table)?;
        let components = components(&mut table, &variables)?;
        nothing_left("the manifest", &table)?;
        for route in &routes {
            if !components.contains_key(&route.component) {
                let (path, id) = (&route.path, &route.component);
                return refuse(format!(
                    "route `{path}` names component `{id}`, which is not there"
                ));
            }
        }
        Ok(Manifest { name, routes, components, variables, devices, precisions, writes })
    }

    /// The component that answers a path.
    pub fn route(&self, path: &str) -> Option<&str> {
        self.routes.iter().find(|r| r.matches(path)).map(|r| r.component.as_str())
    }

    /// Every file that the components are made of, once.
    pub fn files(&self) -> Vec<&str> {
        let mut files: Vec<&str> = self
            .components
            .values()
            .flat_map(|c| std::iter::once(&c.source).chain(c.dependencies.values()))
            .map(String::as_str)
            .collect();
        files.sort_unstable();
        files.dedup();
        files
    }
}

fn refuse<T>(text: String) -> Result<T, RuntimeError> {
    Err(RuntimeError::Manifest(text))
}

fn take(table: &mut Table, key: &str) -> Option<Value> {
    table.remove(key)
}

fn nothing_left(place: &str, table: &Table) -> Result<(), RuntimeError> {
    match table.keys().next() {
        Some(key) => refuse(format!("`{key}` in {place} is not supported by this host")),
        None => Ok(()),
    }
}

fn sub_table(table: &mut Table, key: &str) -> Result<Table, RuntimeError> {
    match take(table, key) {
        None => Ok(Table::new()),
        Some(Value::Table(inner)) => Ok(inner),
        Some(_) => refuse(format!("`{key}` must be a table")),
    }
}

fn string(table: &mut Table, place: &str, key: &str) -> Result<String, RuntimeError> {
    match take(table, key) {
        Some(Value::String(text)) => Ok(text),
        Some(_) => refuse(format!("`{key}` in {place} must be a string")),
        None => refuse(format!("{place} has no `{key}`")),
    }
}

fn strings(
    table: &mut Table,
    place: &str,
    key: &str,
) -> Result<BTreeMap<String, String>, RuntimeError> {
    let mut read = BTreeMap::new();
    for (name, value) in sub_table(table, key)? {
        let Value::String(text) = value else {
            return refuse(format!("`{name}` in {place}'s `{key}` must be a string"));
        };
        read.insert(name, text);
    }
    Ok(read)
}

fn variables(table: &mut Table) -> Result<BTreeMap<String, Variable>, RuntimeError> {
    sub_table(table, "variables")?
        .into_iter()
        .map(|(name, value)| {
            let variable = value
                .try_into()
                .map_err(|e| RuntimeError::Manifest(format!("variable `{name}`: {e}")))?;
            Ok((name, variable))
        })
        .collect()
}

/// `[[trigger.http]]`: other triggers are not for this host.
fn routes(table: &mut Table) -> Result<Vec<Route>, RuntimeError> {
    let mut triggers = sub_table(table, "trigger")?;
    let Some(Value::Array(entries)) = take(&mut triggers, "http") else {
        return refuse("there is no [[trigger.http]]".to_owned());
    };
    nothing_left("`trigger`", &triggers)?;
    let mut routes = Vec::with_capacity(entries.len());
    for entry in entries {
        let Value::Table(mut trigger) = entry else {
            return refuse("[[trigger.http]] must be a table".to_owned());
        };
        let path = string(&mut trigger, "[[trigger.http]]", "route")?;
        let component = string(&mut trigger, "[[trigger.http]]", "component")?;
        trigger.remove("id");
        nothing_left("[[trigger.http]]", &trigger)?;
        routes.push(Route::parse(&path, &component)?);
    }
    // An exact path before a prefix, a longer prefix before a shorter.
    routes.sort_by_key(|r: &Route| (r.wildcard, std::cmp::Reverse(r.path.len())));
    Ok(routes)
}

fn components(
    table: &mut Table,
    variables: &BTreeMap<String, Variable>,
) -> Result<BTreeMap<String, ComponentManifest>, RuntimeError> {
    let mut read = BTreeMap::new();
    for (id, value) in sub_table(table, "component")? {
        let place = format!("component `{id}`");
        let Value::Table(mut fields) = value else {
            return refuse(format!("{place} must be a table"));
        };
        let component = ComponentManifest {
            source: string(&mut fields, &place, "source")?,
            dependencies: dependencies(&mut fields, &place)?,
            fronts: vec![],
            environment: strings(&mut fields, &place, "environment")?,
            variables: strings(&mut fields, &place, "variables")?,
        };
        for template in component.variables.values() {
            crate::variables::check(template, variables).map_err(RuntimeError::Manifest)?;
        }
        no_outbound(&mut fields, &place)?;
        // How Spin builds it and what people read: no business of a running host.
        fields.remove("build");
        fields.remove("description");
        nothing_left(&place, &fields)?;
        read.insert(id, component);
    }
    Ok(read)
}

/// `"package:name/interface@version" = { path = "file.wasm" }`.
fn dependencies(fields: &mut Table, place: &str) -> Result<BTreeMap<String, String>, RuntimeError> {
    let mut read = BTreeMap::new();
    for (import, value) in sub_table(fields, "dependencies")? {
        let Value::Table(mut dependency) = value else {
            return refuse(format!(
                "dependency `{import}` of {place} must be {{ path = \"...\" }}"
            ));
        };
        let place = format!("dependency `{import}` of {place}");
        let path = string(&mut dependency, &place, "path")?;
        nothing_left(&place, &dependency)?;
        read.insert(import, path);
    }
    Ok(read)
}

/// Guests reach nothing outside this node, so only an empty list can be kept.
fn no_outbound(fields: &mut Table, place: &str) -> Result<(), RuntimeError> {
    match take(fields, "allowed_outbound_hosts") {
        None => Ok(()),
        Some(Value::Array(hosts)) if hosts.is_empty() => Ok(()),
        Some(hosts) => refuse(format!(
            "{place} asks for allowed_outbound_hosts = {hosts:?}; this host lets guests reach \
             nothing outside: the list must be empty"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r#"
        spin_manifest_version = 2
        [application]
        name = "app"
        version = "1.0.0"
        [application.tool.trine]
        writes = true
        [application.tool.trine.devices]
        minilm = "gpu:1"
        [application.tool.trine.precisions]
        minilm = "int8"
        [application.tool.other]
        of = "somebody else"
        [variables]
        top_k = { default = "50" }
        [[trigger.http]]
        route = "/..."
        component = "web"
        [[trigger.http]]
        route = "/v1/..."
        component = "api"
        [[trigger.http]]
        route = "/v1/exact"
        component = "web"
        [component.web]
        source = "web.wasm"
        allowed_outbound_hosts = []
        environment = { MODE = "plain" }
        variables = { k = "{{ top_k }}" }
        build.command = "cargo build"
        [component.api]
        source = "api.wasm"
        [component.api.dependencies]
        "trine:rag/retriever@0.1.0" = { path = "retriever.wasm" }
    "#;

    #[test]
    fn a_manifest_is_read_and_routes_go_to_the_most_specific() {
        let manifest = Manifest::parse(WHOLE).unwrap();
        assert_eq!(manifest.files(), ["api.wasm", "retriever.wasm", "web.wasm"]);
        let to = |path| manifest.route(path).unwrap();
        assert_eq!((to("/"), to("/other"), to("/v1x")), ("web", "web", "web"));
        assert_eq!((to("/v1"), to("/v1/answer"), to("/v1/exact")), ("api", "api", "web"));
        assert_eq!(manifest.components["web"].environment["MODE"], "plain");
        assert_eq!(manifest.devices["minilm"], DeviceChoice::Gpu(Some(1)));
        assert_eq!(manifest.precisions["minilm"], PrecisionOption::Int8);
        assert!(manifest.writes);
        assert!(!Manifest::parse(&WHOLE.replace("writes = true", "")).unwrap().writes);
    }

    #[test]
    fn what_is_not_supported_is_refused_by_name() {
        let edits = [
            ("spin_manifest_version = 2", "spin_manifest_version = 1", "must be 2"),
            ("version = \"1.0.0\"", "trigger = 1", "`trigger`"),
            ("[variables]", "[redis]\nx = 1\n[variables]", "`redis`"),
            (
                "[[trigger.http]]\n        route = \"/...\"",
                "[[trigger.cron]]\n        route = \"/...\"",
                "`cron`",
            ),
            ("route = \"/v1/exact\"", "route = \"/v1/:id\"", "/v1/:id"),
            ("component = \"api\"", "component = \"apis\"", "`apis`"),
            ("allowed_outbound_hosts = []", "allowed_outbound_hosts = [\"https://a.b\"]", "a.b"),
            (
                "allowed_outbound_hosts = []",
                "key_value_stores = [\"default\"]",
                "`key_value_stores`",
            ),
            ("{ path = \"retriever.wasm\" }", "\">=1.0\"", "trine:rag/retriever"),
            ("{ path = \"retriever.wasm\" }", "{ url = \"x\" }", "path"),
            ("source = \"web.wasm\"", "files = []", "source"),
            ("{{ top_k }}", "{{ top_n }}", "`top_n`"),
            ("minilm = \"gpu:1\"", "minilm = \"tpu\"", "`minilm`: write auto"),
            ("minilm = \"gpu:1\"", "minilm = 1", "`minilm`: it is no text"),
            ("minilm = \"int8\"", "minilm = \"int4\"", "precisions, `minilm`: \"int4\" is none of"),
            ("tool.trine.devices", "tool.trine.gadgets", "`gadgets`"),
            ("writes = true", "writes = 1", "writes must be"),
        ];
        for (from, to, named) in edits {
            assert!(WHOLE.contains(from), "{from}");
            let error = Manifest::parse(&WHOLE.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(error.contains(named), "{to}: {error}");
        }
        assert!(Manifest::parse("not toml at all [").is_err());
    }
}
