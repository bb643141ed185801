import EdgegenKit
import SwiftUI

/// A prompt, a picture, the steps as they pass, and a button that stops them.
struct DrawView: View {
    @StateObject private var model: DrawModel
    @State private var prompt = "a red fox"

    init(resources: URL) {
        _model = StateObject(wrappedValue: DrawModel(resources: resources))
    }

    var body: some View {
        VStack(spacing: 16) {
            picture
            if let steps = model.steps {
                ProgressView(value: Double(steps.done), total: Double(steps.of)) {
                    Text("Step \(steps.done) of \(steps.of)")
                }
            }
            if let message = model.message {
                Text(message).foregroundStyle(.red)
            }
            TextField("What to draw", text: $prompt)
                .textFieldStyle(.roundedBorder)
            if model.isDrawing {
                Button("Stop", role: .cancel) { model.stop() }
            } else {
                Button("Draw") { model.draw(prompt) }
                    .disabled(prompt.isEmpty)
            }
        }
        .padding()
    }

    @ViewBuilder private var picture: some View {
        if let image = model.image {
            Image(decorative: image, scale: 1)
                .resizable()
                .interpolation(.none)
                .aspectRatio(contentMode: .fit)
        } else {
            Rectangle()
                .fill(.quaternary)
                .aspectRatio(1, contentMode: .fit)
        }
    }
}

/// Holds the painter, and what the view shows of it.
@MainActor
final class DrawModel: ObservableObject {
    struct Steps {
        let done: Int
        let of: Int
    }

    @Published private(set) var image: CGImage?
    @Published private(set) var steps: Steps?
    @Published private(set) var message: String?
    @Published private(set) var isDrawing = false

    private let resources: URL
    private var painter: Painter?
    private var task: Task<Void, Never>?

    init(resources: URL) {
        self.resources = resources
    }

    func draw(_ prompt: String) {
        isDrawing = true
        message = nil
        task = Task {
            do {
                let painter = try await loadedPainter()
                for try await event in painter.draw(DrawRequest(prompt, seed: .random(in: 0...999))) {
                    switch event {
                    case .step(let done, let count):
                        steps = Steps(done: done, of: count)
                    case .picture(let picture):
                        image = picture
                    }
                }
            } catch {
                message = error.localizedDescription
            }
            steps = nil
            isDrawing = false
        }
    }

    func stop() {
        task?.cancel()
    }

    private func loadedPainter() async throws -> Painter {
        if let painter {
            return painter
        }
        let place = resources
        let made = try await Task.detached { try Painter(resources: place) }.value
        painter = made
        return made
    }
}
