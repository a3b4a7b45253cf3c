"""Answer the Open Inference Protocol over gRPC."""
