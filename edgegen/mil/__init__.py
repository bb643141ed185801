"""Core ML's model files: their protobuf messages, their weights, and a program that runs on Linux."""
