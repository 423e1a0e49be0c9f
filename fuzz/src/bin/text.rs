//! Space-separated lines, in the documented order and under names that the first line gives.
#![no_main]

use flowaudit_fuzz::values;
use flowaudit_ingest::decode::text::{self, Layout};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut lines = data.split(|&byte| byte == b'\n');
    let named = lines
        .next()
        .and_then(|names| std::str::from_utf8(names).ok())
        .and_then(Layout::from_names);
    if let Some(layout) = &named {
        assert_eq!(Layout::from_names(&layout.names()).as_ref(), Some(layout));
    }
    for line in lines {
        _ = text::is_documented(line);
        let documented = text::record(line, &Layout::Documented);
        let named = named.as_ref().map(|layout| text::record(line, layout));
        for record in [Some(documented), named].into_iter().flatten().flatten() {
            let values = values(&record);
            let names: Vec<&str> = values.iter().map(|(field, _)| field.name()).collect();
            let Some(layout) = Layout::from_names(&names.join(" ")) else {
                continue;
            };
            let texts: Vec<&str> = values.iter().map(|(_, value)| value.as_str()).collect();
            let line = texts.join(" ");
            assert_eq!(text::record(line.as_bytes(), &layout).as_ref(), Ok(&record));
        }
    }
});
