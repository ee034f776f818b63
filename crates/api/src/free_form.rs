//! Parts of a manifest whose form is Kubernetes' own: the CRD holds them without a schema, which keeps it small and lets
//! every version of Kubernetes have its own fields. What reads them says which fields it does not know.

use std::{borrow::Cow, collections::BTreeMap};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The longest text where a manifest holds texts by name, in characters.
const MAX_TEXT: usize = 4_096;

/// A mapping that is taken as it is written.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(transparent)]
pub struct FreeForm(pub BTreeMap<String, Value>);

impl FreeForm {
    /// The mapping as a JSON object.
    pub fn to_value(&self) -> Value {
        Value::Object(self.0.clone().into_iter().collect())
    }
}

impl JsonSchema for FreeForm {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "FreeForm".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
    }
}

/// A text with a bound, as a value of a map.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Text(pub String);

impl JsonSchema for Text {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Text".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "maxLength": MAX_TEXT })
    }
}
