//! A GGUF file being made, for tests of this crate and of others.
#![allow(dead_code, reason = "not every test needs every kind of value")]

use std::path::Path;

/// Its keys and tensors so far.
#[derive(Default)]
pub struct GgufFile {
    keys: Vec<u8>,
    key_count: u64,
    tensors: Vec<(String, Vec<usize>, u32, Vec<u8>)>,
}

impl GgufFile {
    fn key(&mut self, name: &str, kind: u32, value: &[u8]) {
        self.key_count += 1;
        self.keys.extend(text(name));
        self.keys.extend(kind.to_le_bytes());
        self.keys.extend(value);
    }

    pub fn number(&mut self, name: &str, value: usize) {
        self.key(name, 4, &(value as u32).to_le_bytes());
    }

    pub fn float(&mut self, name: &str, value: f64) {
        self.key(name, 6, &(value as f32).to_le_bytes());
    }

    pub fn string(&mut self, name: &str, value: &str) {
        self.key(name, 8, &text(value));
    }

    pub fn flag(&mut self, name: &str, value: bool) {
        self.key(name, 7, &[value.into()]);
    }

    pub fn strings(&mut self, name: &str, values: &[String]) {
        let mut bytes = 8u32.to_le_bytes().to_vec();
        bytes.extend((values.len() as u64).to_le_bytes());
        values.iter().for_each(|value| bytes.extend(text(value)));
        self.key(name, 9, &bytes);
    }

    pub fn floats(&mut self, name: &str, values: &[f32]) {
        let mut bytes = 6u32.to_le_bytes().to_vec();
        bytes.extend((values.len() as u64).to_le_bytes());
        values.iter().for_each(|value| bytes.extend(value.to_le_bytes()));
        self.key(name, 9, &bytes);
    }

    pub fn integers(&mut self, name: &str, values: &[i32]) {
        let mut bytes = 5u32.to_le_bytes().to_vec();
        bytes.extend((values.len() as u64).to_le_bytes());
        values.iter().for_each(|value| bytes.extend(value.to_le_bytes()));
        self.key(name, 9, &bytes);
    }

    /// A tensor of so many rows and columns of ggml's type `kind`, its bytes as they lie.
    pub fn tensor(&mut self, name: &str, shape: &[usize], kind: u32, bytes: Vec<u8>) {
        self.tensors.push((name.to_owned(), shape.to_vec(), kind, bytes));
    }

    pub fn write(&self, path: &Path) {
        let mut file = b"GGUF\x03\0\0\0".to_vec();
        file.extend((self.tensors.len() as u64).to_le_bytes());
        file.extend(self.key_count.to_le_bytes());
        file.extend(&self.keys);
        let mut offset = 0usize;
        for (name, shape, kind, bytes) in &self.tensors {
            file.extend(text(name));
            file.extend((shape.len() as u32).to_le_bytes());
            shape.iter().rev().for_each(|size| file.extend((*size as u64).to_le_bytes()));
            file.extend(kind.to_le_bytes());
            file.extend((offset as u64).to_le_bytes());
            offset += bytes.len().next_multiple_of(32);
        }
        for (.., bytes) in &self.tensors {
            file.resize(file.len().next_multiple_of(32), 0);
            file.extend(bytes);
        }
        std::fs::write(path, file).unwrap();
    }
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}
