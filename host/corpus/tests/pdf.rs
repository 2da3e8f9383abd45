//! PDF files, sound and not.

mod common;

use common::{complaints, one};
use trine_corpus::{MediaType, ReadOptions};

/// A PDF file of one page with this content, whose drawing `F` has its own content.
fn pdf(content: &str, form: &str) -> Vec<u8> {
    let stream = |dict: &str, content: &str| {
        format!("<<{dict} /Length {}>>\nstream\n{content}\nendstream", content.len())
    };
    let objects = [
        "<</Type /Catalog /Pages 2 0 R>>".to_owned(),
        "<</Type /Pages /Kids [3 0 R] /Count 1 /MediaBox [0 0 600 800]>>".to_owned(),
        "<</Type /Page /Parent 2 0 R /Contents 4 0 R /Resources <</Font <</T 5 0 R>> /XObject <</F 6 0 R>>>>>>"
            .to_owned(),
        stream("", content),
        "<</Type /Font /Subtype /Type1 /BaseFont /Helvetica>>".to_owned(),
        stream("/Type /XObject /Subtype /Form /BBox [0 0 9 9]", form),
    ];
    let mut file = "%PDF-1.4\n".to_owned();
    let mut offsets = Vec::new();
    for (number, object) in objects.iter().enumerate() {
        offsets.push(file.len());
        file += &format!("{} 0 obj\n{object}\nendobj\n", number + 1);
    }
    let table = file.len();
    file += &format!("xref\n0 {}\n0000000000 65535 f \n", offsets.len() + 1);
    for offset in &offsets {
        file += &format!("{offset:010} 00000 n \n");
    }
    file += &format!(
        "trailer\n<</Size {} /Root 1 0 R>>\nstartxref\n{table}\n%%EOF\n",
        offsets.len() + 1
    );
    file.into_bytes()
}

const LINES: &str = "BT /T 12 Tf 50 700 Td (Leave is earned) Tj 0 -14 Td (by the hour.) Tj ET";

#[test]
fn pdf_files_are_read_as_plain_text() {
    let document = one(
        "Annual report.pdf",
        &pdf(&format!("{LINES} /F Do"), "BT /T 12 Tf 50 600 Td (A drawing.) Tj ET"),
    );
    assert_eq!((document.title.as_str(), document.media_type), ("Annual report", MediaType::Plain));
    let lines: Vec<_> = document.text.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(lines, ["Leave is earned", "by the hour.", "A drawing."]);
}

#[test]
fn pdf_files_that_are_not_sound_are_told() {
    let sound = pdf(LINES, "");
    let cut = &sound[..sound.len() / 2];
    let endless = pdf("/F Do", "/F Do");
    let broken = pdf("BT /Missing 12 Tf (x) Tj ET", "");
    let scan = pdf("", "");
    let files: [(&str, &[u8]); 5] = [
        ("cut.pdf", cut),
        ("endless.pdf", &endless),
        ("broken.pdf", &broken),
        ("scan.pdf", &scan),
        ("no.pdf", b"Hello"),
    ];
    let found = complaints(&files, ReadOptions::default());
    assert_eq!(found.len(), 5, "{found:#?}");
    let of = |name: &str| found.iter().find(|line| line.starts_with(name)).unwrap();
    assert!(of("endless.pdf").contains("nests drawings more than 16 deep"));
    assert!(of("scan.pdf").contains("has no text"));
    for name in ["cut.pdf", "broken.pdf", "no.pdf"] {
        assert!(of(name).contains("is not a sound PDF"), "{}", of(name));
    }
}
