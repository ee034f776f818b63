//! What metrics and the access log call a route: a closed set, so that counters need no look-up and no client can make
//! the number of time series grow.

/// The name of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Label {
    ServerMetadata,
    Live,
    Ready,
    ModelMetadata,
    ModelReady,
    ModelConfig,
    ModelStatistics,
    Infer,
    Explain,
    RepositoryIndex,
    RepositoryControl,
    V1Models,
    V1Model,
    V1Predict,
    V1Explain,
    Predict,
    GrpcServerLive,
    GrpcServerReady,
    GrpcModelReady,
    GrpcServerMetadata,
    GrpcModelMetadata,
    GrpcModelConfig,
    GrpcModelStatistics,
    GrpcInfer,
    /// A stream as a whole; its requests are [`Label::GrpcStreamInfer`].
    GrpcStream,
    GrpcStreamInfer,
    GrpcRepositoryIndex,
    GrpcRepositoryControl,
    GrpcHealth,
    GrpcReflection,
    /// There is no such path.
    None,
}

impl Label {
    /// All of them, each at its [`Label::index`].
    pub(crate) const ALL: [Self; 31] = [
        Self::ServerMetadata,
        Self::Live,
        Self::Ready,
        Self::ModelMetadata,
        Self::ModelReady,
        Self::ModelConfig,
        Self::ModelStatistics,
        Self::Infer,
        Self::Explain,
        Self::RepositoryIndex,
        Self::RepositoryControl,
        Self::V1Models,
        Self::V1Model,
        Self::V1Predict,
        Self::V1Explain,
        Self::Predict,
        Self::GrpcServerLive,
        Self::GrpcServerReady,
        Self::GrpcModelReady,
        Self::GrpcServerMetadata,
        Self::GrpcModelMetadata,
        Self::GrpcModelConfig,
        Self::GrpcModelStatistics,
        Self::GrpcInfer,
        Self::GrpcStream,
        Self::GrpcStreamInfer,
        Self::GrpcRepositoryIndex,
        Self::GrpcRepositoryControl,
        Self::GrpcHealth,
        Self::GrpcReflection,
        Self::None,
    ];

    pub(crate) const fn index(self) -> usize {
        self as usize
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::ServerMetadata => "server_metadata",
            Self::Live => "live",
            Self::Ready => "ready",
            Self::ModelMetadata => "model_metadata",
            Self::ModelReady => "model_ready",
            Self::ModelConfig => "model_config",
            Self::ModelStatistics => "model_statistics",
            Self::Infer => "infer",
            Self::Explain => "explain",
            Self::RepositoryIndex => "repository_index",
            Self::RepositoryControl => "repository_control",
            Self::V1Models => "v1_models",
            Self::V1Model => "v1_model",
            Self::V1Predict => "v1_predict",
            Self::V1Explain => "v1_explain",
            Self::Predict => "predict",
            Self::GrpcServerLive => "grpc_server_live",
            Self::GrpcServerReady => "grpc_server_ready",
            Self::GrpcModelReady => "grpc_model_ready",
            Self::GrpcServerMetadata => "grpc_server_metadata",
            Self::GrpcModelMetadata => "grpc_model_metadata",
            Self::GrpcModelConfig => "grpc_model_config",
            Self::GrpcModelStatistics => "grpc_model_statistics",
            Self::GrpcInfer => "grpc_infer",
            Self::GrpcStream => "grpc_stream",
            Self::GrpcStreamInfer => "grpc_stream_infer",
            Self::GrpcRepositoryIndex => "grpc_repository_index",
            Self::GrpcRepositoryControl => "grpc_repository_control",
            Self::GrpcHealth => "grpc_health",
            Self::GrpcReflection => "grpc_reflection",
            Self::None => "none",
        }
    }

    /// Whether requests on this route are inferences, which statistics count.
    pub(crate) const fn is_inference(self) -> bool {
        matches!(
            self,
            Self::Infer | Self::V1Predict | Self::Predict | Self::GrpcInfer | Self::GrpcStreamInfer
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_stand_at_their_index_and_differ() {
        for (index, label) in Label::ALL.iter().enumerate() {
            assert_eq!(label.index(), index);
            assert_eq!(Label::ALL.iter().filter(|other| other.as_str() == label.as_str()).count(), 1);
        }
    }
}
