//! Help and the demo, word for word. `TRYCMD=overwrite cargo test --test it text` writes them anew.

#[test]
fn commands_say_what_they_said_before() {
    trycmd::TestCases::new()
        .env("COLUMNS", "100")
        .env("NO_COLOR", "1")
        .case("tests/cli/*.trycmd");
}
