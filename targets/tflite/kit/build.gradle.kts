plugins {
    id("com.android.application") version "8.13.0"
    id("org.jetbrains.kotlin.android") version "2.2.21"
}

android {
    namespace = "edgegen.kit"
    compileSdk = 35

    defaultConfig {
        applicationId = "edgegen.kit.example"
        minSdk = 26
        targetSdk = 35
        versionCode = 1
        versionName = "1"
        // Networks of this size want the address space of 64 bits.
        ndk { abiFilters += "arm64-v8a" }
    }

    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_17
        targetCompatibility = JavaVersion.VERSION_17
    }
}

kotlin {
    jvmToolchain(17)
}

dependencies {
    // CompiledModel, with XNNPACK; for Accelerator.GPU see delegates.md.
    implementation("com.google.ai.edge.litert:litert:2.2.0")
    implementation("org.jetbrains.kotlinx:kotlinx-coroutines-android:1.10.2")
}
