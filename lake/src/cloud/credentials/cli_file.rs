//! `~/.aliyun/config.json`, the file of the official command line.

use std::collections::BTreeSet;

use secrecy::SecretString;
use serde::Deserialize;

use super::Credentials;
use super::profile::{Profile, ProfileError, Role};

#[derive(Deserialize)]
struct File {
    current: Option<String>,
    #[serde(default)]
    profiles: Vec<Entry>,
}

/// One profile; which keys it needs depends on its mode. Keys of other modes lie around empty.
#[derive(Deserialize)]
struct Entry {
    name: String,
    #[serde(default)]
    mode: String,
    access_key_id: Option<String>,
    access_key_secret: Option<SecretString>,
    sts_token: Option<SecretString>,
    ram_role_arn: Option<String>,
    #[serde(alias = "role_session_name")]
    ram_session_name: Option<String>,
    expired_seconds: Option<u64>,
    policy: Option<String>,
    external_id: Option<String>,
    sts_region: Option<String>,
    #[serde(default)]
    enable_vpc: bool,
    source_profile: Option<String>,
    ram_role_name: Option<String>,
    oidc_provider_arn: Option<String>,
    oidc_token_file: Option<String>,
}

/// Reads the profile with this name, else the current one.
pub(super) fn parse(path: &str, text: &str, wanted: Option<&str>) -> Result<Profile, ProfileError> {
    let file: File = serde_json::from_str(text).map_err(|error| ProfileError::Garbage {
        path: path.to_string(),
        // The category only: the message may quote the value of a secret.
        reason: format!("{:?} error in line {}", error.classify(), error.line()),
    })?;
    let name = wanted.or(file.current.as_deref()).unwrap_or("default");
    profile(path, &file, name, &mut BTreeSet::new())
}

fn profile(
    path: &str,
    file: &File,
    name: &str,
    seen: &mut BTreeSet<String>,
) -> Result<Profile, ProfileError> {
    if !seen.insert(name.to_string()) {
        return Err(ProfileError::Loop {
            profile: name.to_string(),
        });
    }
    let entry = file.profiles.iter().find(|entry| entry.name == name);
    let entry = entry.ok_or_else(|| ProfileError::NoProfile {
        path: path.to_string(),
        profile: name.to_string(),
    })?;
    match entry.mode.as_str() {
        "AK" => entry.keys().map(Profile::Keys),
        "StsToken" => {
            let mut keys = entry.keys()?;
            let token = entry.sts_token.clone();
            keys.security_token = Some(token.ok_or_else(|| entry.lacks("sts_token"))?);
            Ok(Profile::Keys(keys))
        }
        "RamRoleArn" => entry.role(Profile::Keys(entry.keys()?)),
        "ChainableRamRoleArn" => {
            let source = filled(entry.source_profile.as_ref());
            let source = source.ok_or_else(|| entry.lacks("source_profile"))?;
            entry.role(profile(path, file, &source, seen)?)
        }
        "EcsRamRole" => Ok(Profile::EcsRole {
            name: filled(entry.ram_role_name.as_ref()),
        }),
        "OIDC" => {
            let need = |value: &Option<String>, key| {
                filled(value.as_ref()).ok_or_else(|| entry.lacks(key))
            };
            Ok(Profile::Oidc {
                role: entry.wanted_role()?,
                provider_arn: need(&entry.oidc_provider_arn, "oidc_provider_arn")?,
                token_file: need(&entry.oidc_token_file, "oidc_token_file")?.into(),
            })
        }
        mode @ ("CloudSSO" | "OAuth" | "External") => Err(ProfileError::Interactive {
            profile: name.to_string(),
            mode: mode.to_string(),
        }),
        mode => Err(ProfileError::UnknownMode {
            profile: name.to_string(),
            mode: mode.chars().take(50).collect(),
        }),
    }
}

impl Entry {
    fn lacks(&self, key: &'static str) -> ProfileError {
        ProfileError::Lacks {
            profile: self.name.clone(),
            key,
        }
    }

    fn keys(&self) -> Result<Credentials, ProfileError> {
        let id = filled(self.access_key_id.as_ref());
        let secret = self.access_key_secret.clone();
        Ok(Credentials {
            access_key_id: id.ok_or_else(|| self.lacks("access_key_id"))?,
            access_key_secret: secret.ok_or_else(|| self.lacks("access_key_secret"))?,
            security_token: None,
            expires_at: None,
        })
    }

    fn wanted_role(&self) -> Result<Role, ProfileError> {
        let arn = filled(self.ram_role_arn.as_ref());
        Ok(Role {
            arn: arn.ok_or_else(|| self.lacks("ram_role_arn"))?,
            session_name: filled(self.ram_session_name.as_ref()),
            seconds: self.expired_seconds.filter(|seconds| *seconds > 0),
            policy: filled(self.policy.as_ref()),
            sts_region: filled(self.sts_region.as_ref()),
            in_vpc: self.enable_vpc,
        })
    }

    fn role(&self, base: Profile) -> Result<Profile, ProfileError> {
        Ok(Profile::Role {
            base: Box::new(base),
            role: self.wanted_role()?,
            external_id: filled(self.external_id.as_ref()),
        })
    }
}

fn filled(value: Option<&String>) -> Option<String> {
    value.filter(|value| !value.is_empty()).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"{"current":"work","profiles":[
        {"name":"default","mode":"AK","access_key_id":"LTAI5tDefault","access_key_secret":"s1","language":"en"},
        {"name":"work","mode":"StsToken","access_key_id":"STS.x","access_key_secret":"s2","sts_token":"t2"},
        {"name":"role","mode":"RamRoleArn","access_key_id":"LTAI5tBase","access_key_secret":"s3",
         "ram_role_arn":"acs:ram::1:role/r","ram_session_name":"me","expired_seconds":900,"external_id":"e",
         "sts_region":"cn-beijing","enable_vpc":true},
        {"name":"chain","mode":"ChainableRamRoleArn","source_profile":"role","ram_role_arn":"acs:ram::2:role/q"},
        {"name":"a","mode":"ChainableRamRoleArn","source_profile":"b","ram_role_arn":"acs:ram::2:role/q"},
        {"name":"b","mode":"ChainableRamRoleArn","source_profile":"a","ram_role_arn":"acs:ram::2:role/q"},
        {"name":"ecs","mode":"EcsRamRole","ram_role_name":""},
        {"name":"pod","mode":"OIDC","ram_role_arn":"acs:ram::1:role/p","oidc_provider_arn":"acs:ram::1:oidc-provider/x",
         "oidc_token_file":"/token","role_session_name":"pod"},
        {"name":"sso","mode":"CloudSSO"},
        {"name":"bare","mode":"AK","access_key_id":""}]}"#;

    fn read(name: Option<&str>) -> Result<Profile, ProfileError> {
        parse("config.json", FILE, name)
    }

    #[test]
    fn the_current_profile_unless_another_is_named() {
        let Ok(Profile::Keys(keys)) = read(None) else {
            panic!()
        };
        assert_eq!((keys.secret(), keys.token()), ("s2", Some("t2")));
        let Ok(Profile::Keys(keys)) = read(Some("default")) else {
            panic!()
        };
        assert_eq!((keys.secret(), keys.token()), ("s1", None));
    }

    #[test]
    fn a_role_can_rest_on_another() {
        let Ok(Profile::Role { base, role, .. }) = read(Some("chain")) else {
            panic!()
        };
        assert_eq!(role.arn, "acs:ram::2:role/q");
        let Profile::Role {
            role, external_id, ..
        } = *base
        else {
            panic!()
        };
        assert_eq!(role.seconds, Some(900));
        assert_eq!(role.session_name.as_deref(), Some("me"));
        assert_eq!(role.sts_region.as_deref(), Some("cn-beijing"));
        assert!(role.in_vpc);
        assert_eq!(external_id.as_deref(), Some("e"));
    }

    #[test]
    fn roles_of_pods_and_instances() {
        let Ok(Profile::Oidc {
            role, token_file, ..
        }) = read(Some("pod"))
        else {
            panic!()
        };
        assert_eq!(role.session_name.as_deref(), Some("pod"));
        assert_eq!(token_file.to_str(), Some("/token"));
        assert!(matches!(
            read(Some("ecs")),
            Ok(Profile::EcsRole { name: None })
        ));
    }

    #[test]
    fn what_cannot_be_used_says_why_and_tells_no_secret() {
        for (name, said) in [
            (
                "a",
                "profile `a` takes its source from itself, by way of others",
            ),
            (
                "sso",
                "profile `sso` has the mode `CloudSSO`, which needs a person or another program",
            ),
            ("bare", "profile `bare` lacks `access_key_id`"),
            ("none", "`config.json` has no profile `none`"),
        ] {
            assert_eq!(read(Some(name)).unwrap_err().to_string(), said);
        }
        let secret = r#"{"profiles":[{"name":"x","access_key_secret":["hush"]}]}"#;
        let said = parse("config.json", secret, None).unwrap_err().to_string();
        assert!(
            said.contains("is not what the official tools write"),
            "{said}"
        );
        assert!(!said.contains("hush"), "{said}");
    }
}
