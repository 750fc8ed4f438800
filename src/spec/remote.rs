//! `[run] remote`: where results are shared with other machines.
//!
//! Two forms: an address, or a table that also says whether results are sent. Credentials stand in neither (no URL of a spec
//! may hold any).
//!
//! Deliberately absent: what an address means, which is `remote`'s.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Where results are shared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RemoteSettings {
    /// A bucket, a folder in it, or a folder of this machine.
    pub url: String,
    /// Whether results are sent there too.
    pub write: bool,
}

/// A scheme by which results can be shared, or none.
const PLACE: &str = "^((s3a?|gs|gcs|az|azure|abfss?|file)://.+|[^:]+(:/?[^/:][^:]*)*)$";

/// The form with more than an address.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    url: String,
    #[serde(default = "yes")]
    write: bool,
}

fn yes() -> bool {
    true
}

impl<'de> Deserialize<'de> for RemoteSettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Forms;
        impl<'de> Visitor<'de> for Forms {
            type Value = RemoteSettings;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "an address like \"s3://bucket/folder\" or a table like { url = \"s3://bucket/folder\", write = false }",
                )
            }

            fn visit_str<E: de::Error>(self, url: &str) -> Result<RemoteSettings, E> {
                Ok(RemoteSettings {
                    url: url.to_owned(),
                    write: true,
                })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RemoteSettings, A::Error> {
                let Table { url, write } =
                    Table::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(RemoteSettings { url, write })
            }
        }
        deserializer.deserialize_any(Forms)
    }
}

impl JsonSchema for RemoteSettings {
    fn schema_name() -> Cow<'static, str> {
        "RemoteSettings".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let url = json!({
            "description": "`s3://BUCKET/FOLDER`, `gs://BUCKET/FOLDER`, `az://CONTAINER/FOLDER`, `file:///FOLDER` or the path of a folder, relative to this file.",
            "type": "string", "pattern": PLACE,
        });
        let table = json!({
            "type": "object",
            "additionalProperties": false,
            "required": ["url"],
            "properties": {
                "url": url,
                "write": {
                    "description": "Whether results are sent there; without it they are only fetched.",
                    "type": "boolean", "default": true,
                },
            },
        });
        let schema = json!({
            "description": "Where results are shared with other machines: an address, or a table with more.",
            "anyOf": [{ "type": "string", "pattern": PLACE }, table],
        });
        schema.try_into().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::RemoteSettings;
    use crate::spec::Pipeline;

    fn read(remote: &str) -> (Option<RemoteSettings>, Vec<String>) {
        let text =
            format!("version = 1\n[run]\nremote = {remote}\n[load.data]\ntrain = \"a.csv\"\n");
        let (pipeline, problems) = Pipeline::parse(Path::new("a.toml"), &text, &[], &|_| None);
        let told = problems.iter().map(|one| one.message.clone());
        (pipeline.run.remote, told.collect())
    }

    #[test]
    fn both_forms_name_a_place() {
        let settings = |url: &str, write| {
            let url = url.to_owned();
            (Some(RemoteSettings { url, write }), Vec::new())
        };
        assert_eq!(read("\"s3://b/x\""), settings("s3://b/x", true));
        assert_eq!(read("{ url = \"/srv\" }"), settings("/srv", true));
        assert_eq!(
            read("{ url = \"gs://b\", write = false }"),
            settings("gs://b", false)
        );
    }

    #[test]
    fn what_names_none_is_a_problem_and_a_password_is_not_shown() {
        for remote in [
            "\"\"",
            "3",
            "[]",
            "{ write = true }",
            "{ url = \"/x\", wirte = true }",
            "\"https://x/y\"",
        ] {
            assert!(!read(remote).1.is_empty(), "{remote}");
        }
        for remote in ["\"s3://me:sesame@b/x\"", "{ url = \"s3://me:sesame@b\" }"] {
            let (_, problems) = read(remote);
            assert_eq!(problems, ["a URL in a spec must not hold credentials"]);
        }
    }
}
