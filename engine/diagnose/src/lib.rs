//! Where things are in a RON file, and what is wrong with it, in a user's words.
//!
//! * An [`Outline`] is the shape of a file: which [`Block`], list or text lies
//!   where. It goes on behind a mistake, so that one run finds all of them.
//! * A [`Diagnostic`] is one mistake: a place, a sentence, a repair. It is shown
//!   with carets to people, or as JSON to programs.
//! * [`words`] has what people may have meant by a misspelt name.
//!
//! ```
//! use std::sync::Arc;
//! use tripline_diagnose::{Outline, SourceFile};
//!
//! let text = "(a: 1 b: 2)".to_owned();
//! let file = Arc::new(SourceFile { path: "x.ron".into(), text });
//! let outline = Outline::of(&file);
//! assert_eq!(outline.problems[0].message, "a comma is missing behind this");
//! assert_eq!(file.position(outline.problems[0].span.start), (1, 6));
//! ```

mod diagnostic;
mod outline;
mod terminal;
pub mod words;

pub use diagnostic::{
    Also, Diagnostic, Severity, SourceFile, counted, shown, sort, summary,
};
pub use outline::{Block, Field, Node, Outline, Shape};
pub use terminal::{Style, printable, steers};
