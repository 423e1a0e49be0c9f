//! The control plane, from signed calls to the lake, against a fake that checks what it is sent.

#[cfg(test)]
mod fake;
#[cfg(test)]
#[path = "../../../lake/tests/fake_oss/http.rs"]
#[expect(dead_code, reason = "the fake of OSS uses all of it")]
mod http;
#[cfg(test)]
mod reading;
