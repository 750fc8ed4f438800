//! Where the hub is and where its files are kept: the variables that Python's `huggingface_hub` reads, with its defaults; and
//! those that the tools of object stores read.
//!
//! They are read once, at the program's edge, and handed on as a value.
//!
//! Deliberately absent: the token and the values of object stores' variables in any printed form.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// The hub's address, its cache, and who asks.
#[derive(Clone, PartialEq, Eq)]
pub struct Environment {
    /// `HF_ENDPOINT`, without a slash at the end.
    pub endpoint: String,
    /// `HF_HUB_CACHE`, else `HF_HOME/hub`.
    pub cache: PathBuf,
    /// `HF_TOKEN`, else what `hf auth login` left in `HF_TOKEN_PATH`, by default `HF_HOME/token`.
    pub token: Option<String>,
    /// `HF_HUB_OFFLINE`: ask nothing of the network.
    pub offline: bool,
    /// What the tools of Amazon, Google and Azure read: how their object stores are reached, and who asks.
    pub stores: BTreeMap<String, String>,
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment")
            .field("endpoint", &self.endpoint)
            .field("cache", &self.cache)
            .field("token", &self.token.as_ref().map(|_| "…"))
            .field("offline", &self.offline)
            .field("stores", &self.stores.keys())
            .finish()
    }
}

/// How the names of variables begin that say how object stores are reached.
const OF_STORES: [&str; 5] = [
    "AWS_",
    "GOOGLE_",
    "SERVICE_ACCOUNT",
    "AZURE_",
    "IDENTITY_ENDPOINT",
];

/// What `gcloud auth application-default login` leaves.
const GCLOUD: &str = ".config/gcloud/application_default_credentials.json";

const HUB: &str = "https://huggingface.co";

impl Environment {
    /// As the process was started.
    pub fn of_process() -> Environment {
        let mut environment = Environment::of(&|name| std::env::var(name).ok());
        let told = std::env::vars_os().filter_map(|(name, value)| {
            let (name, value) = (name.into_string().ok()?, value.into_string().ok()?);
            let ours = OF_STORES.iter().any(|start| name.starts_with(start));
            (ours && !value.is_empty()).then_some((name, value))
        });
        environment.stores.extend(told);
        environment
    }

    /// As `variable` says.
    pub fn of(variable: &dyn Fn(&str) -> Option<String>) -> Environment {
        let variable = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let user = variable("HOME").map(PathBuf::from);
        // Python reads `~` too; a shell does not see to it in a quoted or a configured value.
        let folder = |name: &str| {
            let path = PathBuf::from(variable(name)?);
            Some(match (path.strip_prefix("~"), &user) {
                (Ok(below), Some(user)) => user.join(below),
                _ => path,
            })
        };
        let home = folder("HF_HOME")
            .or_else(|| folder("XDG_CACHE_HOME").map(|cache| cache.join("huggingface")))
            .or_else(|| folder("HOME").map(|home| home.join(".cache/huggingface")))
            .unwrap_or_else(|| PathBuf::from(".cache/huggingface"));
        let cache = folder("HF_HUB_CACHE")
            .or_else(|| folder("HUGGINGFACE_HUB_CACHE"))
            .unwrap_or_else(|| home.join("hub"));
        let token_file = folder("HF_TOKEN_PATH").unwrap_or_else(|| home.join("token"));
        let endpoint = variable("HF_ENDPOINT").unwrap_or_else(|| HUB.to_owned());
        let is_set = |name: &str| {
            variable(name).is_some_and(|value| {
                ["1", "on", "yes", "true"].contains(&value.to_lowercase().as_str())
            })
        };
        // Asked to send none unless told to, Python sends none; there is no other way to tell here.
        let token = match is_set("HF_HUB_DISABLE_IMPLICIT_TOKEN") {
            true => None,
            false => variable("HF_TOKEN").or_else(|| std::fs::read_to_string(token_file).ok()),
        };
        let token = token.map(|token| token.trim().to_owned());
        let gcloud = user.map(|user| user.join(GCLOUD));
        let gcloud = gcloud.filter(|file| file.is_file()).map(|file| {
            let file = file.to_string_lossy().into_owned();
            ("GOOGLE_APPLICATION_CREDENTIALS".to_owned(), file)
        });
        Environment {
            stores: gcloud.into_iter().collect(),
            endpoint: endpoint.trim().trim_end_matches('/').to_owned(),
            cache,
            token: token.filter(|token| !token.is_empty()),
            offline: is_set("HF_HUB_OFFLINE"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Environment {
        let variables: Vec<(String, String)> = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Environment::of(&move |name| {
            let found = variables.iter().find(|(known, _)| known == name);
            found.map(|(_, value)| value.clone())
        })
    }

    #[test]
    fn the_cache_is_where_python_looks_for_it() {
        let cache = |variables| of(variables).cache;
        assert_eq!(
            cache(&[("HOME", "/h")]),
            PathBuf::from("/h/.cache/huggingface/hub")
        );
        assert_eq!(
            cache(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/x")]),
            PathBuf::from("/x/huggingface/hub")
        );
        assert_eq!(
            cache(&[("HF_HOME", "/hf"), ("XDG_CACHE_HOME", "/x")]),
            PathBuf::from("/hf/hub")
        );
        assert_eq!(
            cache(&[("HF_HOME", "/hf"), ("HF_HUB_CACHE", "/c")]),
            PathBuf::from("/c")
        );
        assert_eq!(
            cache(&[("HOME", "/h"), ("HF_HOME", "~/models")]),
            PathBuf::from("/h/models/hub")
        );
    }

    #[test]
    fn a_token_comes_from_the_variable_or_the_file_and_is_never_printed() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("token"), "hf_file\n").unwrap();
        let home = home.path().to_str().unwrap();
        assert_eq!(of(&[("HF_HOME", home)]).token.unwrap(), "hf_file");
        let both = of(&[("HF_HOME", home), ("HF_TOKEN", "hf_variable")]);
        assert!(!format!("{both:?}").contains("hf_"));
        assert_eq!(both.token.unwrap(), "hf_variable");
        assert_eq!(of(&[("HF_TOKEN", " ")]).token, None);
        let refused = [
            ("HF_TOKEN", "hf_variable"),
            ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1"),
        ];
        assert_eq!(of(&refused).token, None);
    }

    #[test]
    fn offline_is_what_python_takes_for_true() {
        for value in ["1", "TRUE", "yes", "On"] {
            assert!(of(&[("HF_HUB_OFFLINE", value)]).offline, "{value}");
        }
        for value in ["0", "false", "", "no"] {
            assert!(!of(&[("HF_HUB_OFFLINE", value)]).offline, "{value}");
        }
        assert_eq!(
            of(&[("HF_ENDPOINT", "http://localhost:1/")]).endpoint,
            "http://localhost:1"
        );
        assert_eq!(of(&[]).endpoint, HUB);
    }
}
