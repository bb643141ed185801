import EdgegenKit
import SwiftUI

@main
struct ExampleApp: App {
    var body: some Scene {
        WindowGroup {
            DrawView(resources: Bundle.main.resourceURL!.appending(path: "Resources"))
        }
    }
}
