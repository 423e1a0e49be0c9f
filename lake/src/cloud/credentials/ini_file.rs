//! `~/.alibabacloud/credentials.ini`, the file the SDKs share.

use std::collections::BTreeMap;

use super::Credentials;
use super::profile::{Profile, ProfileError, Role};

/// Reads the profile with this name.
pub(super) fn parse(path: &str, text: &str, name: &str) -> Result<Profile, ProfileError> {
    let section = section(text, name).ok_or_else(|| ProfileError::NoProfile {
        path: path.to_string(),
        profile: name.to_string(),
    })?;
    let get = |key: &'static str| {
        let value = section.get(key).filter(|value| !value.is_empty());
        value.map(|value| value.to_string())
    };
    let need = |key: &'static str| {
        get(key).ok_or_else(|| ProfileError::Lacks {
            profile: name.to_string(),
            key,
        })
    };
    let keys = || {
        let id = need("access_key_id")?;
        Ok(Credentials::lasting(id, need("access_key_secret")?))
    };
    let role = || {
        Ok(Role {
            arn: need("role_arn")?,
            session_name: get("role_session_name"),
            policy: get("policy"),
            ..Role::default()
        })
    };
    match need("type")?.as_str() {
        "access_key" => Ok(Profile::Keys(keys()?)),
        "ram_role_arn" => Ok(Profile::Role {
            base: Box::new(Profile::Keys(keys()?)),
            role: role()?,
            external_id: None,
        }),
        "oidc_role_arn" => Ok(Profile::Oidc {
            role: role()?,
            provider_arn: need("oidc_provider_arn")?,
            token_file: need("oidc_token_file_path")?.into(),
        }),
        "ecs_ram_role" => Ok(Profile::EcsRole {
            name: get("role_name"),
        }),
        mode => Err(ProfileError::UnknownMode {
            profile: name.to_string(),
            mode: mode.chars().take(50).collect(),
        }),
    }
}

/// The keys of a section. As the SDKs read it: what follows `#` is a remark, wherever it stands.
fn section<'a>(text: &'a str, name: &str) -> Option<BTreeMap<&'a str, &'a str>> {
    let mut found = None;
    let mut inside = false;
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if let Some(head) = line
            .strip_prefix('[')
            .and_then(|line| line.strip_suffix(']'))
        {
            inside = head.trim() == name;
            if inside {
                found.get_or_insert_with(BTreeMap::new);
            }
        } else if let (true, Some((key, value)), Some(keys)) =
            (inside, line.split_once('='), found.as_mut())
        {
            keys.insert(key.trim(), value.trim());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
[default]                # the usual one
enable = true
type = access_key
access_key_id = LTAI5tDefault
access_key_secret = s3cr=t   # not part of it

[client1]
type=ecs_ram_role
role_name=nodes
[pod]
type = oidc_role_arn
role_arn = acs:ram::1:role/p
oidc_provider_arn = acs:ram::1:oidc-provider/x
oidc_token_file_path = /token
role_session_name = pod
[role]
type = ram_role_arn
access_key_id = LTAI5tBase
access_key_secret = s3
role_arn = acs:ram::1:role/r
[pair]
type = rsa_key_pair
[empty]
";

    fn read(name: &str) -> Result<Profile, ProfileError> {
        parse("credentials.ini", FILE, name)
    }

    #[test]
    fn each_kind_of_profile() {
        let Ok(Profile::Keys(keys)) = read("default") else {
            panic!()
        };
        assert_eq!(keys.secret(), "s3cr=t");
        assert!(
            matches!(read("client1"), Ok(Profile::EcsRole { name }) if name.as_deref() == Some("nodes"))
        );
        assert!(matches!(read("pod"), Ok(Profile::Oidc { .. })));
        assert!(
            matches!(read("role"), Ok(Profile::Role { role, .. }) if role.arn == "acs:ram::1:role/r")
        );
    }

    #[test]
    fn what_cannot_be_used_says_why() {
        for (name, said) in [
            ("pair", "profile `pair` has the unknown mode `rsa_key_pair`"),
            ("empty", "profile `empty` lacks `type`"),
            ("none", "`credentials.ini` has no profile `none`"),
        ] {
            assert_eq!(read(name).unwrap_err().to_string(), said);
        }
    }
}
