//! tests/golden/fusion.json: what the training's own code makes of some scores.

use serde_json::Value;

pub struct Golden(Value);

impl Golden {
    pub fn read() -> Golden {
        let text = include_str!("../../../tests/golden/fusion.json");
        Golden(serde_json::from_str(text).unwrap())
    }

    pub fn number(&self, name: &str) -> f32 {
        self.0[name].as_f64().unwrap() as f32
    }

    pub fn list(&self, name: &str) -> Vec<f32> {
        self.0[name]
            .as_array()
            .unwrap()
            .iter()
            .map(|value| value.as_f64().unwrap() as f32)
            .collect()
    }
}
