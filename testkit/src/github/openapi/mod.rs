//! GitHub's own OpenAPI description: finds the operation of a request, holds bodies against schemas.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

use jsonschema::Validator;
use serde_json::{Value, json};

/// The description, read once; each schema is compiled when it is first needed.
pub static DESCRIPTION: LazyLock<Description> = LazyLock::new(Description::read);

/// The paths' operations and the schemas.
pub struct Description {
    operations: Vec<Operation>,
    schemas: Value,
    compiled: Mutex<HashMap<String, Arc<Validator>>>,
}

/// One method on one path.
#[derive(Debug)]
pub struct Operation {
    /// GitHub's name of it, such as `git/create-ref`.
    pub id: String,
    method: String,
    template: Vec<Segment>,
    request: Option<Value>,
    responses: HashMap<u16, Value>,
}

#[derive(Debug)]
enum Segment {
    Literal(String),
    Parameter { name: String, integer: bool, rest: bool },
}

/// The parameters of a path, decoded.
pub type Parameters = HashMap<String, String>;

impl Description {
    fn read() -> Self {
        let mut document: Value =
            serde_json::from_str(include_str!("openapi.json")).expect("the OpenAPI description");
        let mut operations = Vec::new();
        for (path, methods) in document["paths"].as_object().expect("paths") {
            for (method, operation) in methods.as_object().expect("methods") {
                let id = operation["operationId"].as_str().expect("an operation's id");
                // Octokit's doubles of `git/ref/{ref}` and the like: the general path covers them.
                if !id.ends_with("-tag-path") {
                    operations.push(Operation::read(&document, path, method, operation));
                }
            }
        }
        let mut schemas = document["components"]["schemas"].take();
        for schema in schemas.as_object_mut().expect("schemas").values_mut() {
            adapt(schema, false);
        }
        Self { operations, schemas, compiled: Mutex::default() }
    }

    /// The operation of a request, the most literal template first; `None`: GitHub has no such thing
    /// among what the action may call.
    pub fn find(&self, method: &str, path: &str) -> Option<(&Operation, Parameters)> {
        let segments: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
        self.operations
            .iter()
            .filter(|operation| operation.method == method)
            .filter_map(|operation| Some((operation, operation.parameters(&segments)?)))
            .max_by_key(|(operation, _)| operation.literals())
    }

    /// What is wrong with a request's body; `None`: nothing.
    pub fn fault_in_request(&self, operation: &Operation, body: &[u8]) -> Option<String> {
        let Some(schema) = &operation.request else {
            return (!body.is_empty()).then(|| format!("{} takes no body", operation.id));
        };
        match serde_json::from_slice(body) {
            Ok(value) => self.fault(&format!("{} request", operation.id), schema, &value),
            Err(_) if body.is_empty() && operation.method == "PATCH" => None,
            Err(error) => Some(format!("{}: the body is no JSON: {error}", operation.id)),
        }
    }

    /// What is wrong with an answer; `None`: nothing.
    pub fn fault_in_response(
        &self,
        operation: &Operation,
        status: u16,
        body: Option<&Value>,
    ) -> Option<String> {
        let place = format!("{} response {status}", operation.id);
        let general = json!({ "$ref": "#/components/schemas/basic-error" });
        let schema = match operation.responses.get(&status) {
            Some(schema) => schema,
            // Every endpoint can answer 401, 403, 422 or 5xx, and few say so in the description.
            None if status >= 400 => &general,
            None => return Some(format!("{place}: the description knows no such status")),
        };
        match (schema, body) {
            (Value::Null, None) => None,
            (Value::Null, Some(body)) if status >= 400 => self.fault(&place, &general, body),
            (Value::Null, Some(_)) => Some(format!("{place}: a body where none is described")),
            (_, None) => Some(format!("{place}: no body")),
            (schema, Some(body)) => self.fault(&place, schema, body),
        }
    }

    fn fault(&self, place: &str, schema: &Value, value: &Value) -> Option<String> {
        let validator = self.validator(place, schema);
        if validator.is_valid(value) {
            return None;
        }
        let faults: Vec<String> = validator
            .iter_errors(value)
            .take(3)
            .map(|error| format!("{} at `{}`", error, error.instance_path()))
            .collect();
        Some(format!("{place}: {}", faults.join("; ")))
    }

    fn validator(&self, place: &str, schema: &Value) -> Arc<Validator> {
        let mut compiled = self.compiled.lock().expect("the validators");
        let build = || {
            let whole = json!({ "allOf": [schema], "components": { "schemas": self.schemas } });
            let options = jsonschema::draft7::options().should_validate_formats(true);
            Arc::new(options.build(&whole).unwrap_or_else(|error| panic!("schema of {place}: {error}")))
        };
        Arc::clone(compiled.entry(place.to_owned()).or_insert_with(build))
    }
}

impl Operation {
    fn read(document: &Value, path: &str, method: &str, operation: &Value) -> Self {
        let parameters: Vec<&Value> = operation["parameters"]
            .as_array()
            .expect("parameters")
            .iter()
            .map(|parameter| resolve(document, parameter))
            .collect();
        let template = path.split('/').skip(1).map(|segment| Segment::read(segment, &parameters)).collect();
        let schema_of = |content: &Value| content["content"]["application/json"].get("schema").cloned();
        let request = schema_of(&operation["requestBody"]).map(|mut schema| {
            adapt(&mut schema, true);
            schema
        });
        let responses =
            operation["responses"].as_object().expect("responses").iter().map(|(status, response)| {
                let mut schema = schema_of(resolve(document, response)).unwrap_or_default();
                adapt(&mut schema, false);
                (status.parse().expect("a status"), schema)
            });
        Self {
            id: operation["operationId"].as_str().expect("an id").to_owned(),
            method: method.to_uppercase(),
            template,
            request,
            responses: responses.collect(),
        }
    }

    fn parameters(&self, segments: &[&str]) -> Option<Parameters> {
        let mut parameters = Parameters::new();
        let mut left = segments;
        for part in &self.template {
            let (first, others) = left.split_first()?;
            match part {
                Segment::Literal(text) if text == first => left = others,
                Segment::Literal(_) => return None,
                Segment::Parameter { name, rest: true, .. } => {
                    parameters.insert(name.clone(), decode(&left.join("/")));
                    left = &[];
                }
                Segment::Parameter { integer: true, .. } if first.parse::<u64>().is_err() => return None,
                Segment::Parameter { name, .. } => {
                    parameters.insert(name.clone(), decode(first));
                    left = others;
                }
            }
        }
        left.is_empty().then_some(parameters)
    }

    fn literals(&self) -> usize {
        self.template.iter().filter(|segment| matches!(segment, Segment::Literal(_))).count()
    }
}

impl Segment {
    fn read(text: &str, parameters: &[&Value]) -> Self {
        let Some(name) = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else {
            return Self::Literal(text.to_owned());
        };
        let described = parameters.iter().find(|parameter| parameter["name"] == name);
        let described = described.unwrap_or_else(|| panic!("the parameter {name} is described"));
        Self::Parameter {
            name: name.to_owned(),
            integer: described["schema"]["type"] == "integer",
            rest: described["x-multi-segment"] == true,
        }
    }
}

fn decode(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn resolve<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(reference) => document.pointer(&reference[1..]).unwrap_or_else(|| panic!("{reference}")),
        None => value,
    }
}

/// Turns OpenAPI 3.0's dialect into JSON Schema: `nullable` becomes a type. With `strict`, fields that
/// are not described are refused: GitHub ignores them, and a misspelt one would go unnoticed.
fn adapt(schema: &mut Value, strict: bool) {
    let Some(fields) = schema.as_object_mut() else { return };
    if fields.remove("nullable") == Some(Value::Bool(true)) {
        if let Some(kind) = fields.get_mut("type") {
            *kind = json!([kind.take(), "null"]);
        }
        for key in ["enum", "oneOf"] {
            if let Some(Value::Array(choices)) = fields.get_mut(key) {
                choices.push(if key == "enum" { Value::Null } else { json!({ "type": "null" }) });
            }
        }
    }
    // GitHub answers "" where no URL was set, and gives that as the default of a `uri`.
    if fields.get("default") == Some(&json!("")) {
        fields.remove("format");
    }
    if strict && fields.contains_key("properties") && !fields.contains_key("additionalProperties") {
        fields.insert("additionalProperties".to_owned(), Value::Bool(false));
    }
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = fields.get_mut(key) {
            adapt(inner, strict);
        }
    }
    for key in ["oneOf", "anyOf", "allOf"] {
        if let Some(Value::Array(choices)) = fields.get_mut(key) {
            for choice in choices {
                adapt(choice, strict);
            }
        }
    }
    if let Some(Value::Object(properties)) = fields.get_mut("properties") {
        for property in properties.values_mut() {
            adapt(property, strict);
        }
    }
}
