// Open cases in Bio-Formats: java -cp bioformats_package.jar BioFormats.java PATHS ANSWERS, a line for each.
import java.nio.file.*;
import java.security.MessageDigest;
import java.util.*;
import loci.formats.ImageReader;
import loci.formats.MetadataTools;
import loci.formats.meta.IMetadata;
import ome.units.UNITS;
import ome.units.quantity.Length;

public class BioFormats {
    static String text(String s) {
        if (s == null) return "null";
        StringBuilder b = new StringBuilder("\"");
        for (char c : s.toCharArray())
            b.append(c == '"' || c == '\\' ? "\\" + c : c < 32 || c > 126 ? String.format("\\u%04x", (int) c) : "" + c);
        return b.append('"').toString();
    }

    static void size(StringBuilder b, String axis, Length length) {
        if (length == null) return;
        b.append(b.charAt(b.length() - 1) == '{' ? "" : ", ");
        Number metres = length.value(UNITS.METER);
        b.append(text(axis)).append(metres == null ? ": [1, \"pixel\"]" : ": [" + metres + ", \"m\"]");
    }

    static String answer(String path) throws Exception {
        try (ImageReader reader = new ImageReader()) {
            IMetadata meta = MetadataTools.createOMEXMLMetadata();
            reader.setMetadataStore(meta);
            reader.setGroupFiles(false);
            reader.setId(path);
            int rgb = reader.getRGBChannelCount();
            MessageDigest hash = MessageDigest.getInstance("SHA-256");
            int width = loci.formats.FormatTools.getBytesPerPixel(reader.getPixelType());
            for (int t = 0; t < reader.getSizeT(); t++)
                for (int z = 0; z < reader.getSizeZ(); z++)
                    for (int c = 0; c < reader.getEffectiveSizeC(); c++) {
                        byte[] plane = reader.openBytes(reader.getIndex(z, c, t));
                        if (rgb > 1 && !reader.isInterleaved()) {
                            byte[] mixed = new byte[plane.length];
                            int count = plane.length / rgb / width;
                            for (int i = 0; i < count; i++)
                                for (int s = 0; s < rgb; s++)
                                    System.arraycopy(plane, (s * count + i) * width, mixed, (i * rgb + s) * width, width);
                            plane = mixed;
                        }
                        if (!reader.isLittleEndian() && width > 1)
                            for (int i = 0; i < plane.length; i += width)
                                for (int k = 0; k < width / 2; k++) {
                                    byte swap = plane[i + k];
                                    plane[i + k] = plane[i + width - 1 - k];
                                    plane[i + width - 1 - k] = swap;
                                }
                        hash.update(plane);
                    }
            StringBuilder b = new StringBuilder("{\"pixels\": \"");
            byte[] digest = hash.digest();
            for (int i = 0; i < 8; i++) b.append(String.format("%02x", digest[i] & 255));
            b.append(String.format("\", \"extents\": {\"X\": %d, \"Y\": %d, \"C\": %d, \"Z\": %d, \"T\": %d, \"S\": %d}, \"images\": %d, \"size\": {",
                reader.getSizeX(), reader.getSizeY(), reader.getEffectiveSizeC(), reader.getSizeZ(), reader.getSizeT(), rgb, reader.getSeriesCount()));
            size(b, "x", meta.getPixelsPhysicalSizeX(0));
            size(b, "y", meta.getPixelsPhysicalSizeY(0));
            size(b, "z", meta.getPixelsPhysicalSizeZ(0));
            b.append("}, \"interval\": ");
            b.append(meta.getPixelsTimeIncrement(0) == null ? "null" : meta.getPixelsTimeIncrement(0).value(UNITS.SECOND));
            List<String> names = new ArrayList<>();
            for (int c = 0; c < meta.getChannelCount(0) && meta.getChannelCount(0) > 1; c++) names.add(text(meta.getChannelName(0, c)));
            return b.append(", \"channels\": ").append(names).append("}").toString();
        }
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
