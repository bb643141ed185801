"""Core ML: model packages that Xcode compiles, for iPhone, iPad and Mac."""
