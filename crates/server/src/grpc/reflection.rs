//! Server reflection: clients such as `grpcurl` ask for the schemas. Rare, so the service is made for each call.

use http::Request;
use hyper::body::Incoming;
use modelwright_protocol::grpc::FILE_DESCRIPTOR_SET;
use tonic::Status;
use tonic::codegen::Service;
use tonic_reflection::server::Builder;

use super::call::Answer;

pub(super) async fn v1(request: Request<Incoming>) -> Answer {
    match builder().build_v1() {
        Ok(mut service) => {
            let Ok(answer) = service.call(request).await;
            answer
        }
        Err(error) => failed(&error),
    }
}

/// What clients made before 2023 ask for.
pub(super) async fn v1alpha(request: Request<Incoming>) -> Answer {
    match builder().build_v1alpha() {
        Ok(mut service) => {
            let Ok(answer) = service.call(request).await;
            answer
        }
        Err(error) => failed(&error),
    }
}

fn builder() -> Builder<'static> {
    Builder::configure().register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
}

fn failed(error: &tonic_reflection::server::Error) -> Answer {
    Status::internal(error.to_string()).into_http()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schemas_are_whole() {
        builder().build_v1().unwrap();
        builder().build_v1alpha().unwrap();
    }
}
