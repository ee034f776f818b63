//! The calls of `externalscaler.ExternalScaler`, from a path to the answer.

use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    sync::Arc,
    time::Duration,
};

use futures::{
    FutureExt as _, StreamExt as _, TryFutureExt as _,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use http::Request;
use hyper::body::Incoming;
use prost::Message;
use tonic::{
    Code, Status,
    server::{Grpc, ServerStreamingService, UnaryService},
};
use tonic_prost::ProstCodec;

use super::{
    known::Standing,
    loads::Told,
    messages::{
        GetMetricSpecResponse, GetMetricsRequest, GetMetricsResponse, IsActiveResponse, MetricSpec,
        MetricValue, ScaledObjectRef,
    },
    trigger::Trigger,
};
use crate::stores::ModelKey;

/// The service's name in paths.
const SERVICE: &str = "/externalscaler.ExternalScaler/";
/// The most that a trigger has to say.
const MAX_MESSAGE: usize = 64 << 10;
/// How often a stream looks whether there is something to tell.
const STREAM_PAUSE: Duration = Duration::from_secs(2);

/// What the calls ask about.
pub(super) trait Cluster: Send + Sync + 'static {
    /// Whether everything is known that there is.
    fn is_complete(&self) -> bool;

    /// How a Model stands, if there is one.
    fn standing(&self, model: &ModelKey) -> Option<Standing>;

    /// What the pods of a Model tell of their load.
    fn told(&self, model: &ModelKey) -> impl Future<Output = Told> + Send;
}

/// What comes out of a call.
pub(super) type Answer = http::Response<tonic::body::Body>;

/// The scaler's calls over what there is. Clones share it.
#[derive(Debug)]
pub(super) struct Service<C>(Arc<C>);

impl<C> Clone for Service<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C: Cluster> Service<C> {
    pub(super) fn new(cluster: C) -> Self {
        Self(Arc::new(cluster))
    }

    /// Answers one call.
    pub(super) async fn answer(self, request: Request<Incoming>) -> Result<Answer, Infallible> {
        let method = request.uri().path().strip_prefix(SERVICE).unwrap_or_default().to_owned();
        Ok(match method.as_str() {
            "IsActive" => {
                self.unary(request, |service, asked| async move { service.is_active(&asked) }).await
            }
            "GetMetricSpec" => {
                self.unary(request, |service, asked| async move { service.metric_spec(&asked) }).await
            }
            "GetMetrics" => {
                self.unary(request, |service, asked| async move { service.metrics(&asked).await }).await
            }
            "StreamIsActive" => self.stream(request).await,
            _ => {
                let message = "there are IsActive, StreamIsActive, GetMetricSpec and GetMetrics of externalscaler.ExternalScaler here";
                Status::unimplemented(message).into_http()
            }
        })
    }

    /// A call with one answer.
    async fn unary<M, R, F, A>(self, request: Request<Incoming>, answer: F) -> Answer
    where
        M: Message + Default + Send + 'static,
        R: Message + Send + 'static,
        F: Fn(Self, M) -> A,
        A: Future<Output = Result<R, Status>> + Send + 'static,
    {
        let mut grpc = Grpc::new(ProstCodec::<R, M>::new()).max_decoding_message_size(MAX_MESSAGE);
        grpc.unary(Unary { service: self, answer }, request).await
    }

    async fn stream(self, request: Request<Incoming>) -> Answer {
        let mut grpc = Grpc::new(ProstCodec::new()).max_decoding_message_size(MAX_MESSAGE);
        grpc.server_streaming(Activity(self), request).await
    }

    /// Reads a trigger and looks whether its Model is there to be scaled. Returns whether the Model is suspended, too.
    fn trigger(&self, asked: &ScaledObjectRef) -> Result<(Trigger, bool), Status> {
        let trigger = Trigger::parse(asked)?;
        if !self.0.is_complete() {
            return Err(Status::unavailable(
                "the operator is starting: it has not listed all Models and pods yet",
            ));
        }
        let model = &trigger.model;
        match self.0.standing(model) {
            Some(Standing::Scalable) => Ok((trigger, false)),
            Some(Standing::Suspended) => Ok((trigger, true)),
            Some(Standing::NotExternal) => Err(Status::failed_precondition(format!(
                "the number of pods of Model {model} is not left to another autoscaler: write spec.serving.autoscaling: {{mode: \
                 External}} and remove spec.serving.replicas"
            ))),
            Some(Standing::Unreadable) => Err(Status::failed_precondition(format!(
                "Model {model} cannot be read: see its status, or `kubectl get model` with another version of the operator"
            ))),
            None => Err(Status::not_found(format!(
                "there is no Model {model} in the namespaces that this operator watches: write its name as metadata.model, which is \
                 else the ScaledObject's"
            ))),
        }
    }

    /// A Model that serves has a pod at least: without any there is nothing to measure, so nothing would ever bring one back.
    fn is_active(&self, asked: &ScaledObjectRef) -> Result<IsActiveResponse, Status> {
        self.trigger(asked).map(|(_, suspended)| IsActiveResponse { result: !suspended })
    }

    fn metric_spec(&self, asked: &ScaledObjectRef) -> Result<GetMetricSpecResponse, Status> {
        let (trigger, _) = self.trigger(asked)?;
        let spec = MetricSpec {
            metric_name: trigger.metric.name().to_owned(),
            // For clients that do not know the other; they take 0 for none.
            target_size: whole(trigger.target).max(1),
            target_size_float: trigger.target,
        };
        Ok(GetMetricSpecResponse { metric_specs: vec![spec] })
    }

    async fn metrics(&self, asked: &GetMetricsRequest) -> Result<GetMetricsResponse, Status> {
        let scaled_object = asked.scaled_object_ref.as_ref();
        let scaled_object =
            scaled_object.ok_or_else(|| Status::invalid_argument("scaledObjectRef is missing"))?;
        let (trigger, suspended) = self.trigger(scaled_object)?;
        let name = trigger.metric.name();
        if asked.metric_name != name {
            return Err(Status::invalid_argument(format!(
                "metricName is another than {name}, the trigger's"
            )));
        }
        let told = self.0.told(&trigger.model).await;
        if told.loads.is_empty() && !suspended {
            let (model, why) = (&trigger.model, told.failure.as_deref());
            let why = why.unwrap_or("no pod of it is ready");
            // An autoscaler that gets no value leaves the number of pods as it is.
            return Err(Status::unavailable(format!("the load of Model {model} is not known: {why}")));
        }
        let value = trigger.value(&told.loads, told.silent);
        let value = MetricValue {
            metric_name: name.to_owned(),
            metric_value: whole(value),
            metric_value_float: value,
        };
        Ok(GetMetricsResponse { metric_values: vec![value] })
    }

    /// Whether a Model is active, now and after every change. It ends with an error when the Model is gone.
    fn activity(self, asked: ScaledObjectRef) -> BoxStream<'static, Result<IsActiveResponse, Status>> {
        let told: Option<bool> = None;
        let changes = stream::unfold(Some((self, asked, told)), |state| async move {
            let (service, asked, told) = state?;
            loop {
                match service.is_active(&asked) {
                    Ok(answer) if Some(answer.result) != told => {
                        return Some((Ok(answer), Some((service, asked, Some(answer.result)))));
                    }
                    // A watch that begins anew may not know everything for a moment.
                    Ok(_) => tokio::time::sleep(STREAM_PAUSE).await,
                    Err(status) if status.code() == Code::Unavailable => {
                        tokio::time::sleep(STREAM_PAUSE).await;
                    }
                    Err(status) => return Some((Err(status), None)),
                }
            }
        });
        changes.boxed()
    }
}

/// The nearest whole number.
#[allow(clippy::cast_possible_truncation, reason = "it saturates, and no load comes near")]
fn whole(number: f64) -> i64 {
    number.round() as i64
}

/// A call with one answer, as tonic wants to make it.
struct Unary<C, F> {
    service: Service<C>,
    answer: F,
}

impl<C, F, A, M, R: 'static> UnaryService<M> for Unary<C, F>
where
    F: Fn(Service<C>, M) -> A,
    A: Future<Output = Result<R, Status>> + Send + 'static,
{
    type Response = R;
    type Future = BoxFuture<'static, Result<tonic::Response<R>, Status>>;

    fn call(&mut self, request: tonic::Request<M>) -> Self::Future {
        (self.answer)(self.service.clone(), request.into_inner()).map_ok(tonic::Response::new).boxed()
    }
}

/// [`Service::activity`] as tonic wants to call it.
struct Activity<C>(Service<C>);

impl<C: Cluster> ServerStreamingService<ScaledObjectRef> for Activity<C> {
    type Response = IsActiveResponse;
    type ResponseStream = BoxStream<'static, Result<IsActiveResponse, Status>>;
    type Future = Ready<Result<tonic::Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: tonic::Request<ScaledObjectRef>) -> Self::Future {
        ready(Ok(tonic::Response::new(self.0.clone().activity(request.into_inner()))))
    }
}
