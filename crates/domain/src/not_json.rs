//! What is said of text that is no JSON: where it stops being some, and how.

use alloc::{
    format,
    string::{String, ToString as _},
};

use serde_json::error::Category;

/// What was found instead of JSON, for [`Problems`](crate::Problems) and the like.
#[must_use]
pub fn not_json(error: &serde_json::Error) -> String {
    let (line, column) = (error.line(), error.column());
    let told = error.to_string();
    let why = told.rsplit_once(" at line ").map_or(&*told, |(why, _)| why);
    match error.classify() {
        Category::Eof if column == 0 && line <= 1 => "nothing".to_string(),
        Category::Eof => format!("text that breaks off in line {line}, column {column}"),
        Category::Syntax if why.starts_with("recursion limit") => {
            format!("lists or objects within each other too deep, in line {line}, column {column}")
        }
        Category::Syntax => {
            format!("text that is none from line {line}, column {column} on ({why})")
        }
        Category::Data | Category::Io => format!("{why}, in line {line}, column {column}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn it_says_where() {
        let deep = "[".repeat(200);
        for (text, found) in [
            ("", "nothing"),
            ("{\"a\":\n 1,", "text that breaks off in line 2, column 3"),
            (
                "{\"a\": 1,}",
                "text that is none from line 1, column 9 on (trailing comma)",
            ),
            (
                "name: a",
                "text that is none from line 1, column 2 on (expected ident)",
            ),
            (
                &*deep,
                "lists or objects within each other too deep, in line 1, column 128",
            ),
        ] {
            let error = serde_json::from_str::<Value>(text).expect_err("no JSON");
            assert_eq!(not_json(&error), found, "{text}");
        }
    }
}
