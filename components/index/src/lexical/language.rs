//! The languages whose inflections are known.

use serde::{Deserialize, Serialize};
use snowball_stemmers_rs::Algorithm;

macro_rules! languages {
    ($($language:ident $name:literal,)*) => {
        /// A language whose inflections are removed, by Snowball's algorithm for it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "lowercase")]
        pub enum Language {
            $(#[doc = concat!("Called `", $name, "`.")] $language,)*
        }

        impl Language {
            /// All of them.
            pub const ALL: &[Language] = &[$(Language::$language),*];

            /// What it is called, in small letters.
            pub fn name(self) -> &'static str {
                match self { $(Language::$language => $name),* }
            }

            pub(super) fn algorithm(self) -> Algorithm {
                match self { $(Language::$language => Algorithm::$language),* }
            }
        }
    };
}

languages! {
    English "english",
    Arabic "arabic",
    Danish "danish",
    Dutch "dutch",
    Finnish "finnish",
    French "french",
    German "german",
    Greek "greek",
    Hungarian "hungarian",
    Italian "italian",
    Norwegian "norwegian",
    Polish "polish",
    Portuguese "portuguese",
    Romanian "romanian",
    Russian "russian",
    Spanish "spanish",
    Swedish "swedish",
    Turkish "turkish",
    Ukrainian "ukrainian",
}
