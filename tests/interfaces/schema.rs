//! An OpenAPI document, and whether answers are what it says. Stricter than JSON Schema is: what an answer has and its schema
//! does not know is an error.

use std::collections::BTreeMap;

use reqwest::{Client, Response, header::CONTENT_TYPE, redirect::Policy};
use serde_json::Value;

pub(crate) struct Document(Value);

impl Document {
    pub(crate) async fn read(url: &str) -> Self {
        let answer = reqwest::get(format!("{url}/v1/openapi.json"))
            .await
            .unwrap();
        let document: Value = answer.json().await.unwrap();
        assert_eq!(document["openapi"].as_str().unwrap(), "3.1.0");
        let document = Self(document);
        for (path, methods) in document.0["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                let told = operation["summary"].as_str().unwrap_or_default();
                assert!(!told.is_empty(), "{method} {path} is not described");
                for (status, answer) in operation["responses"].as_object().unwrap() {
                    let told = answer["description"].as_str().unwrap_or_default();
                    assert!(
                        !told.is_empty(),
                        "{method} {path} {status} is not described"
                    );
                }
            }
        }
        document
    }

    /// Asks for everything that anybody can get, with these names in paths; what has a body of JSON is given back.
    pub(crate) async fn all_get_answers(
        &self,
        url: &str,
        known: &[(&str, &str)],
    ) -> BTreeMap<String, Value> {
        let http = Client::builder().redirect(Policy::none()).build().unwrap();
        let mut seen = BTreeMap::new();
        for (path, methods) in self.0["paths"].as_object().unwrap() {
            if methods["get"].is_null() || methods["get"]["security"].is_array() {
                continue;
            }
            let mut asked = path.clone();
            for (name, value) in known {
                asked = asked.replace(&format!("{{{name}}}"), value);
            }
            assert!(!asked.contains('{'), "nobody knows what to put into {path}");
            let answer = http.get(format!("{url}{asked}")).send().await.unwrap();
            let status = answer.status();
            assert!(status.is_success() || status == 307, "{asked}: {status}");
            seen.insert(path.clone(), self.fits("get", path, answer).await);
        }
        seen
    }

    /// The body of an answer, if it is JSON; its status, type and body are among those that are described.
    pub(crate) async fn fits(&self, method: &str, path: &str, answer: Response) -> Value {
        let (status, url) = (answer.status(), answer.url().clone());
        let said = &self.0["paths"][path][method]["responses"][status.as_str()];
        assert!(
            said.is_object(),
            "{method} {url}: {status} is not described"
        );
        let Some(content) = said["content"].as_object() else {
            return Value::Null;
        };
        let kind = answer.headers()[CONTENT_TYPE].to_str().unwrap();
        let kind = kind.split(';').next().unwrap().to_owned();
        let described = content.get(&kind);
        let schema = described.unwrap_or_else(|| panic!("{method} {url}: {kind} is not described"));
        if kind != "application/json" {
            return Value::Null;
        }
        let body: Value = answer.json().await.unwrap();
        if let Err(why) = self.check(&schema["schema"], &body) {
            panic!("{method} {url}: {why} in {body:#}");
        }
        body
    }

    fn check(&self, schema: &Value, value: &Value) -> Result<(), String> {
        let mut known = BTreeMap::new();
        self.matches(schema, value, &mut known)?;
        let fields = value.as_object().into_iter().flatten();
        match known.remove("*") {
            Some(()) => Ok(()),
            None => {
                let unknown = fields
                    .map(|(name, _)| name)
                    .find(|name| !known.contains_key(*name));
                unknown.map_or(Ok(()), |name| Err(format!("{name} is not described")))
            }
        }
    }

    /// `known` gets the names of the fields that are described; `*` if all are.
    fn matches(
        &self,
        schema: &Value,
        value: &Value,
        known: &mut BTreeMap<String, ()>,
    ) -> Result<(), String> {
        if let Some(reference) = schema["$ref"].as_str() {
            let target = self.0.pointer(reference.strip_prefix('#').unwrap());
            return self.matches(target.unwrap(), value, known);
        }
        if let Some(all) = schema["allOf"].as_array() {
            return all
                .iter()
                .try_for_each(|one| self.matches(one, value, known));
        }
        if let Some(either) = schema["oneOf"].as_array() {
            let fitting = either.iter().filter(|one| self.check(one, value).is_ok());
            return match fitting.count() {
                1 => {
                    known.insert("*".into(), ());
                    Ok(())
                }
                count => Err(format!("{count} of {either:?} are {value}")),
            };
        }
        let kinds = match &schema["type"] {
            Value::Array(kinds) => kinds.clone(),
            // Anything may be there.
            Value::Null => {
                known.insert("*".into(), ());
                return Ok(());
            }
            one => vec![one.clone()],
        };
        let fits = kinds.iter().any(|kind| is(value, kind.as_str().unwrap()));
        if !fits {
            return Err(format!("{value} is none of {kinds:?}"));
        }
        if let Some(names) = schema["enum"].as_array()
            && !names.contains(value)
        {
            return Err(format!("{value} is none of {names:?}"));
        }
        for one in value.as_array().into_iter().flatten() {
            self.check(&schema["items"], one)?;
        }
        if let Some(fields) = value.as_object() {
            return self.object(schema, fields, known);
        }
        Ok(())
    }

    fn object(
        &self,
        schema: &Value,
        fields: &serde_json::Map<String, Value>,
        known: &mut BTreeMap<String, ()>,
    ) -> Result<(), String> {
        for name in schema["required"].as_array().into_iter().flatten() {
            if !fields.contains_key(name.as_str().unwrap()) {
                return Err(format!("there is no {name}"));
            }
        }
        for (name, of) in schema["properties"].as_object().into_iter().flatten() {
            known.insert(name.clone(), ());
            if let Some(value) = fields.get(name) {
                self.check(of, value)
                    .map_err(|why| format!("{name}: {why}"))?;
            }
        }
        if !schema["additionalProperties"].is_null() {
            known.insert("*".into(), ());
        }
        Ok(())
    }
}

fn is(value: &Value, kind: &str) -> bool {
    match kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    }
}
