#[test]
fn scratch() {
    std::fs::write("/tmp/w/api/crd.yaml", crate::crd::crd_yaml().unwrap()).unwrap();
}
