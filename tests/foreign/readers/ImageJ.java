// Open cases in ImageJ: java -cp ij.jar ImageJ.java PATHS ANSWERS, one path or JSON answer on a line.
import ij.ImagePlus;
import ij.io.Opener;
import ij.measure.Calibration;
import ij.process.ImageProcessor;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.*;
import java.security.MessageDigest;
import java.util.*;

public class ImageJ {
    static String text(String s) {
        if (s == null) return "null";
        StringBuilder b = new StringBuilder("\"");
        for (char c : s.toCharArray())
            b.append(c == '"' || c == '\\' ? "\\" + c : c < 32 || c > 126 ? String.format("\\u%04x", (int) c) : "" + c);
        return b.append('"').toString();
    }

    static String answer(String path) throws Exception {
        ImagePlus image = new Opener().openTiff(Paths.get(path).getParent().toString() + "/", Paths.get(path).getFileName().toString());
        if (image == null) return "{\"error\": \"openTiff gives null\"}";
        Calibration c = image.getCalibration();
        MessageDigest hash = MessageDigest.getInstance("SHA-256");
        for (int i = 1; i <= image.getStackSize(); i++) {
            Object pixels = image.getStack().getPixels(i);
            ByteBuffer bytes = ByteBuffer.allocate(image.getWidth() * image.getHeight() * 4).order(ByteOrder.LITTLE_ENDIAN);
            if (pixels instanceof byte[] b) bytes.put(b);
            else if (pixels instanceof short[] s) for (short v : s) bytes.putShort((short) (c.isSigned16Bit() ? v - 32768 : v));
            else if (pixels instanceof float[] f) for (float v : f) bytes.putFloat(v);
            else for (int v : (int[]) pixels) bytes.put((byte) (v >> 16)).put((byte) (v >> 8)).put((byte) v);
            hash.update(bytes.array(), 0, bytes.position());
        }
        boolean rgb = image.getType() == ImagePlus.COLOR_RGB;
        StringBuilder b = new StringBuilder("{\"pixels\": \"");
        byte[] digest = hash.digest();
        for (int i = 0; i < 8; i++) b.append(String.format("%02x", digest[i] & 255));
        return b.toString() + rest(image, c, rgb);
    }

    static String rest(ImagePlus image, Calibration c, boolean rgb) {
        int[] d = image.getDimensions();
        StringBuilder b = new StringBuilder("\", \"extents\": {");
        b.append(String.format("\"X\": %d, \"Y\": %d, \"C\": %d, \"Z\": %d, \"T\": %d, \"S\": %d}", d[0], d[1], d[2], d[3], d[4], rgb ? 3 : 1));
        b.append(", \"size\": {");
        if (c.scaled()) {
            b.append(String.format(Locale.ROOT, "\"x\": [%s, %s], \"y\": [%s, %s], \"z\": [%s, %s]",
                c.pixelWidth, text(c.getXUnit()), c.pixelHeight, text(c.getYUnit()), c.pixelDepth, text(c.getZUnit())));
        }
        b.append("}, \"interval\": ").append(c.frameInterval > 0 ? c.frameInterval : "null");
        List<String> names = new ArrayList<>();
        for (int channel = 1; channel <= image.getNChannels() && image.getNChannels() > 1; channel++)
            names.add(text(image.getStack().getSliceLabel(image.getStackIndex(channel, 1, 1))));
        return b.append(", \"channels\": ").append(names).append("}").toString();
    }

    public static void main(String[] args) throws Exception {
        List<String> lines = new ArrayList<>();
        for (String path : Files.readAllLines(Paths.get(args[0]))) {
            try {
                lines.add(answer(path));
            } catch (Throwable error) {
                lines.add("{\"error\": " + text(error.toString()) + "}");
            }
        }
        Files.write(Paths.get(args[1]), lines);
        System.exit(0);
    }
}
