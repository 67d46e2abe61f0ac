//! GraphQL, as far as the mutation `updateRefs` and the query for a release by its tag go: a reader of documents,
//! the mutation, the query.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::vec::IntoIter;

use autotag_model::git::ObjectId;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::answers::REPOSITORY_NODE;
use super::git::fits;
use super::model::{Model, Refs};

/// What became of a GraphQL request. All of it is HTTP 200.
#[derive(Debug)]
pub enum Outcome {
    /// The refs moved.
    Applied(Value),
    /// The request was well formed and refused.
    Refused(Value),
    /// The request itself is wrong: a fault of the client.
    ParseError(String),
}

impl Outcome {
    /// The answer's body.
    pub fn body(self) -> Value {
        match self {
            Self::Applied(body) | Self::Refused(body) => body,
            Self::ParseError(message) => {
                json!({ "errors": [{ "message": message, "locations": [{ "line": 1, "column": 1 }] }] })
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GraphqlRequest {
    query: String,
    #[serde(default)]
    variables: Option<Map<String, Value>>,
    #[serde(default, rename = "operationName")]
    _operation_name: Option<String>,
}

/// `UpdateRefsInput` of GitHub's GraphQL reference.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct UpdateRefsInput {
    repository_id: String,
    ref_updates: Vec<RefUpdate>,
    #[serde(default)]
    client_mutation_id: Option<String>,
}

/// `RefUpdate` of GitHub's GraphQL reference.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RefUpdate {
    name: String,
    after_oid: ObjectId,
    #[serde(default)]
    before_oid: Option<ObjectId>,
    #[serde(default)]
    force: Option<bool>,
}

/// Answers POST /graphql. `may_write`: the token has `contents: write`.
pub fn answer(model: &mut Model, body: &[u8], may_write: bool) -> Outcome {
    if let Ok(request) = serde_json::from_slice::<GraphqlRequest>(body)
        && request.query.trim_start().starts_with("query")
    {
        let asked = read_query(&request.query, &request.variables.unwrap_or_default());
        return asked.map_or_else(Outcome::ParseError, |asked| release_by_tag(model, &asked, may_write));
    }
    let input = serde_json::from_slice::<GraphqlRequest>(body)
        .map_err(|error| format!("A query attribute must be specified and must be a string: {error}"))
        .and_then(|request| read_document(&request.query, &request.variables.unwrap_or_default()))
        .and_then(|input| {
            serde_json::from_value::<UpdateRefsInput>(input).map_err(|error| {
                format!("Variable $input of type UpdateRefsInput! was provided invalid value: {error}")
            })
        });
    let input = match input {
        Ok(input) => input,
        Err(message) => return Outcome::ParseError(message),
    };
    if input.repository_id != REPOSITORY_NODE {
        let message = format!("Could not resolve to a node with the global id of '{}'", input.repository_id);
        return refusal("NOT_FOUND", &message);
    }
    if !may_write {
        return refusal("FORBIDDEN", "Resource not accessible by integration");
    }
    match judge(model, &input.ref_updates) {
        Ok(changes) => {
            model.write_refs(changes);
            Outcome::Applied(
                json!({ "data": { "updateRefs": { "clientMutationId": input.client_mutation_id } } }),
            )
        }
        Err(message) => refusal("UNPROCESSABLE", &message),
    }
}

/// GitHub documents no wording of refusals of `updateRefs`; the form is that of its other mutations.
fn refusal(kind: &str, message: &str) -> Outcome {
    Outcome::Refused(json!({
        "data": { "updateRefs": null },
        "errors": [{
            "type": kind,
            "path": ["updateRefs"],
            "extensions": { "saml_failure": false },
            "locations": [{ "line": 1, "column": 1 }],
            "message": message,
        }],
    }))
}

/// What `repository(owner:, name:) { release(tagName:) { ... } }` asks for.
struct Selection {
    owner: String,
    name: String,
    tag: String,
    fields: Vec<String>,
}

/// The first release of a tag, or draft for it; drafts for writers alone. A repository keeps its old names.
fn release_by_tag(model: &Model, asked: &Selection, may_write: bool) -> Outcome {
    let mut named = std::iter::once(&model.name).chain(&model.former_names);
    let is_here = asked.owner == model.owner && named.any(|name| *name == asked.name);
    if !is_here {
        let message =
            format!("Could not resolve to a Repository with the name '{}/{}'.", asked.owner, asked.name);
        return Outcome::Refused(json!({
            "data": { "repository": null },
            "errors": [{ "type": "NOT_FOUND", "path": ["repository"], "message": message }],
        }));
    }
    let mut releases = model.releases().iter().filter(|release| release.tag == asked.tag);
    let release = releases.find(|release| may_write || !release.draft).map(|release| {
        let fields = asked.fields.iter().map(|field| {
            let value = match field.as_str() {
                "databaseId" => json!(release.id),
                "isDraft" => json!(release.draft),
                "isPrerelease" => json!(release.prerelease),
                _ => json!(release.tag),
            };
            (field.clone(), value)
        });
        Value::Object(fields.collect())
    });
    Outcome::Applied(json!({ "data": { "repository": { "release": release } } }))
}

/// Finds `query { repository(owner:, name:) { release(tagName:) { FIELDS } } }`, with variables put in.
fn read_query(query: &str, variables: &Map<String, Value>) -> Result<Selection, String> {
    let mut reader =
        Reader { tokens: tokens(query)?.into_iter().peekable(), variables, declared: BTreeMap::new() };
    reader.word("query")?;
    if matches!(reader.tokens.peek(), Some(Token::Name(_))) {
        reader.tokens.next();
    }
    if reader.take('(') {
        reader.declarations()?;
    }
    reader.expect('{')?;
    reader.word("repository")?;
    reader.expect('(')?;
    let owner = reader.text("owner")?;
    let name = reader.text("name")?;
    reader.expect(')')?;
    reader.expect('{')?;
    reader.word("release")?;
    reader.expect('(')?;
    let tag = reader.text("tagName")?;
    reader.expect(')')?;
    reader.expect('{')?;
    let mut fields = Vec::new();
    while !reader.take('}') {
        let field = reader.name()?;
        if !["databaseId", "isDraft", "isPrerelease", "tagName"].contains(&field.as_str()) {
            return Err(format!("Field '{field}' is not modelled of a release"));
        }
        fields.push(field);
    }
    reader.expect('}')?;
    reader.expect('}')?;
    match reader.tokens.next() {
        None => Ok(Selection { owner, name, tag, fields }),
        Some(token) => Err(format!("Parse error: expected the end, got {token:?}")),
    }
}

/// All changes, or the first reason against one of them.
fn judge(model: &Model, updates: &[RefUpdate]) -> Result<Vec<(String, Option<ObjectId>)>, String> {
    if updates.is_empty() {
        return Err("refUpdates must not be empty".to_owned());
    }
    let mut after: Refs = model.refs().clone();
    let mut changes = Vec::new();
    for (place, update) in updates.iter().enumerate() {
        let name = &update.name;
        if updates[..place].iter().any(|earlier| earlier.name == *name) {
            return Err(format!("Ref '{name}' is named twice"));
        }
        let current = model.refs().get(name);
        let expected = update.before_oid.as_ref();
        if expected.is_some_and(|expected| *expected != current.cloned().unwrap_or_else(ObjectId::zero)) {
            let found = current.map_or("it does not exist".to_owned(), |id| format!("it is at {id}"));
            let wanted = expected.map_or_else(String::new, ToString::to_string);
            return Err(format!("Reference '{name}' could not be updated: expected {wanted}, but {found}"));
        }
        if update.after_oid == ObjectId::zero() {
            after.remove(name).ok_or_else(|| format!("Reference '{name}' does not exist"))?;
            changes.push((name.clone(), None));
            continue;
        }
        if !fits(model, name, &update.after_oid) {
            return Err(format!(
                "Reference '{name}': object {} does not exist or does not fit",
                update.after_oid
            ));
        }
        let forward = current.is_none_or(|current| model.is_fast_forward(current, &update.after_oid));
        if !forward && update.force != Some(true) {
            return Err(format!("Reference '{name}': update is not a fast forward"));
        }
        after.remove(name);
        if let Some(reason) = Model::misnamed(&after, name) {
            return Err(reason);
        }
        after.insert(name.clone(), update.after_oid.clone());
        changes.push((name.clone(), Some(update.after_oid.clone())));
    }
    Ok(changes)
}

/// Finds `mutation { updateRefs(input: ...) { ... } }` and gives the input, with variables put in.
fn read_document(query: &str, variables: &Map<String, Value>) -> Result<Value, String> {
    let mut reader =
        Reader { tokens: tokens(query)?.into_iter().peekable(), variables, declared: BTreeMap::new() };
    reader.word("mutation")?;
    if matches!(reader.tokens.peek(), Some(Token::Name(_))) {
        reader.tokens.next();
    }
    if reader.take('(') {
        reader.declarations()?;
    }
    reader.expect('{')?;
    reader.word("updateRefs")?;
    reader.expect('(')?;
    reader.word("input")?;
    reader.expect(':')?;
    let input = reader.value()?;
    reader.expect(')')?;
    reader.expect('{')?;
    reader
        .word("clientMutationId")
        .map_err(|error| format!("{error} (type UpdateRefsPayload has no other field)"))?;
    reader.expect('}')?;
    reader.expect('}')?;
    match reader.tokens.next() {
        None => Ok(input),
        Some(token) => Err(format!("Parse error: expected the end, got {token:?}")),
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Mark(char),
    Name(String),
    Literal(Value),
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            ' ' | '\t' | '\n' | '\r' | ',' => 1,
            '#' => rest.find('\n').unwrap_or(rest.len()),
            '{' | '}' | '(' | ')' | '[' | ']' | ':' | '$' | '!' | '=' => {
                found.push(Token::Mark(first));
                1
            }
            '"' => {
                let mut strings = serde_json::Deserializer::from_str(rest).into_iter::<String>();
                let string = strings.next().and_then(Result::ok).ok_or("Parse error: unterminated string")?;
                found.push(Token::Literal(Value::String(string)));
                strings.byte_offset()
            }
            _ => {
                let end = rest
                    .find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_' && letter != '-');
                let end = end.unwrap_or(rest.len());
                let word = &rest[..end];
                found.push(match word {
                    "" => return Err(format!("Parse error: unexpected {first:?}")),
                    "true" | "false" => Token::Literal(Value::Bool(word == "true")),
                    "null" => Token::Literal(Value::Null),
                    _ => word.parse::<i64>().map_or_else(
                        |_| Token::Name(word.to_owned()),
                        |number| Token::Literal(number.into()),
                    ),
                });
                end
            }
        };
        rest = &rest[length..];
    }
    Ok(found)
}

struct Reader<'a> {
    tokens: Peekable<IntoIter<Token>>,
    variables: &'a Map<String, Value>,
    /// The declared variables, and whether each must be given.
    declared: BTreeMap<String, bool>,
}

impl Reader<'_> {
    fn take(&mut self, mark: char) -> bool {
        self.tokens.next_if_eq(&Token::Mark(mark)).is_some()
    }

    fn expect(&mut self, mark: char) -> Result<(), String> {
        match self.tokens.next() {
            Some(Token::Mark(found)) if found == mark => Ok(()),
            other => Err(format!("Parse error: expected {mark:?}, got {other:?}")),
        }
    }

    fn name(&mut self) -> Result<String, String> {
        match self.tokens.next() {
            Some(Token::Name(name)) => Ok(name),
            other => Err(format!("Parse error: expected a name, got {other:?}")),
        }
    }

    fn word(&mut self, word: &str) -> Result<(), String> {
        match self.name()? {
            name if name == word => Ok(()),
            name => Err(format!("Field '{name}' is not modelled; expected {word}")),
        }
    }

    /// An argument that is a text.
    fn text(&mut self, argument: &str) -> Result<String, String> {
        self.word(argument)?;
        self.expect(':')?;
        match self.value()? {
            Value::String(text) => Ok(text),
            other => {
                Err(format!("Argument '{argument}' has an invalid value ({other}). Expected type 'String!'."))
            }
        }
    }

    /// `$name: Type!` and so on, to the closing parenthesis.
    fn declarations(&mut self) -> Result<(), String> {
        while !self.take(')') {
            self.expect('$')?;
            let name = self.name()?;
            self.expect(':')?;
            let is_list = self.take('[');
            self.name()?;
            if is_list {
                self.take('!');
                self.expect(']')?;
            }
            let required = self.take('!');
            if required && self.variables.get(&name).is_none_or(Value::is_null) {
                return Err(format!(
                    "Variable ${name} was provided invalid value: expected value to not be null"
                ));
            }
            self.declared.insert(name, required);
        }
        match self.variables.keys().find(|name| !self.declared.contains_key(*name)) {
            Some(name) => Err(format!("Variable ${name} is not declared")),
            None => Ok(()),
        }
    }

    fn value(&mut self) -> Result<Value, String> {
        match self.tokens.next() {
            Some(Token::Literal(value)) => Ok(value),
            Some(Token::Mark('$')) => {
                let name = self.name()?;
                if !self.declared.contains_key(&name) {
                    return Err(format!("Variable ${name} is used and not declared"));
                }
                Ok(self.variables.get(&name).cloned().unwrap_or_default())
            }
            Some(Token::Mark('[')) => {
                let mut items = Vec::new();
                while !self.take(']') {
                    items.push(self.value()?);
                }
                Ok(Value::Array(items))
            }
            Some(Token::Mark('{')) => {
                let mut fields = Map::new();
                while !self.take('}') {
                    let name = self.name()?;
                    self.expect(':')?;
                    fields.insert(name, self.value()?);
                }
                Ok(Value::Object(fields))
            }
            other => Err(format!("Parse error: expected a value, got {other:?}")),
        }
    }
}
