//! Server reflection: clients such as `grpcurl` ask for the schemas. Rare, so the service is made for each call.

use bytes::Bytes;
use futures::StreamExt;
use http::Request;
use http_body_util::{BodyStream, StreamBody};
use hyper::body::{Body, Incoming};
use modelwright_protocol::grpc::FILE_DESCRIPTOR_SET;
use tonic::Status;
use tonic::codegen::Service;
use tonic_reflection::server::Builder;

use super::call::Answer;
use crate::data::Data;
use crate::phase::Step;

pub(super) async fn v1(data: &Data, request: Request<Incoming>) -> Answer {
    match builder().build_v1() {
        Ok(mut service) => {
            let Ok(answer) = service.call(until_end(data, request)).await;
            answer
        }
        Err(error) => failed(&error),
    }
}

/// What clients made before 2023 ask for.
pub(super) async fn v1alpha(data: &Data, request: Request<Incoming>) -> Answer {
    match builder().build_v1alpha() {
        Ok(mut service) => {
            let Ok(answer) = service.call(until_end(data, request)).await;
            answer
        }
        Err(error) => failed(&error),
    }
}

/// A request that ends with the server at the latest, and so does its answer: a client that leaves its stream open would hold
/// up the end.
fn until_end(
    data: &Data,
    request: Request<Incoming>,
) -> Request<impl Body<Data = Bytes, Error = hyper::Error> + Send + 'static> {
    let mut steps = data.phase.steps();
    let ending = async move {
        // An error would say that there is no server any more.
        let _ = steps.wait_for(|step| *step == Step::Ending).await;
    };
    request.map(|body| StreamBody::new(BodyStream::new(body).take_until(ending)))
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
