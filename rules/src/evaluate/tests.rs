use super::test_support::rules;
use super::*;
