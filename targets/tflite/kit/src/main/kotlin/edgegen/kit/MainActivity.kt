package edgegen.kit

import android.app.Activity
import android.graphics.Bitmap
import android.os.Bundle
import android.widget.Button
import android.widget.EditText
import android.widget.ImageView
import android.widget.LinearLayout
import android.widget.TextView
import java.io.File
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.Job
import kotlinx.coroutines.MainScope
import kotlinx.coroutines.cancel
import kotlinx.coroutines.flow.catch
import kotlinx.coroutines.flow.flow
import kotlinx.coroutines.flow.emitAll
import kotlinx.coroutines.flow.flowOn
import kotlinx.coroutines.launch

/** Returns the finished image as a bitmap. */
fun Progress.Image.toBitmap(): Bitmap =
    Bitmap.createBitmap(pixels, width, height, Bitmap.Config.ARGB_8888)

/** Draws from the package in the app's folder `package`: a prompt, a button, an image. */
class MainActivity : Activity() {
    private val scope: CoroutineScope = MainScope()
    private var drawing: Job? = null
    private lateinit var prompt: EditText
    private lateinit var button: Button
    private lateinit var status: TextView
    private lateinit var picture: ImageView

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        prompt = EditText(this).apply { setText(DEFAULT_PROMPT) }
        button = Button(this).apply {
            text = DRAW
            setOnClickListener { if (drawing?.isActive == true) drawing?.cancel() else draw() }
        }
        status = TextView(this)
        picture = ImageView(this)
        setContentView(
            LinearLayout(this).apply {
                orientation = LinearLayout.VERTICAL
                listOf(prompt, button, status, picture).forEach { addView(it) }
            },
        )
    }

    override fun onDestroy() {
        scope.cancel()
        super.onDestroy()
    }

    private fun draw() {
        val request = Request(prompt = prompt.text.toString(), seed = 1)
        val folder = File(getExternalFilesDir(null), "package")
        button.text = CANCEL
        drawing = scope.launch {
            flow {
                val pipeline = TextToImage(PackageFolder.open(folder), LiteRtGraph.opener())
                emitAll(pipeline.draw(request))
            }
                .flowOn(Dispatchers.Default)
                // Whatever failed, the user is told, and the app goes on.
                .catch { status.text = it.message }
                .collect { show(it) }
        }.apply { invokeOnCompletion { runOnUiThread { button.text = DRAW } } }
    }

    private fun show(progress: Progress) {
        when (progress) {
            is Progress.Step -> status.text = "${progress.index + 1} of ${progress.of}"
            is Progress.Image -> picture.setImageBitmap(progress.toBitmap())
        }
    }

    private companion object {
        const val DEFAULT_PROMPT = "pizza"
        const val DRAW = "Draw"
        const val CANCEL = "Cancel"
    }
}
