//! Outcomes to lines.

use mcache_base::Item;

use crate::outcome::Outcome;
use crate::output::Output;
use crate::style::TextStyle;

/// Says `outcome` in classic text.
pub fn encode<I: Item>(_style: TextStyle, _outcome: &Outcome<I>, _out: &mut Output<I::Pin>) {}
