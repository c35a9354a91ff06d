import com.google.protobuf.ByteString;
import java.io.IOException;
import java.math.BigInteger;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.MessageDigest;
import java.security.PublicKey;
import java.security.Signature;
import java.security.spec.X509EncodedKeySpec;
import java.util.Arrays;
import java.util.Base64;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import topten.leaderboard.v1.Proof;

/** Checks proofs with the published key. Ed25519 needs Java 15 or a provider. Use your JSON library; this program has none. */
final class ProofCheck {
  /** What precedes the 32 bytes of an Ed25519 key in its X.509 form. */
  private static final byte[] KEY_PREFIX = new BigInteger("302a300506032b6570032100", 16).toByteArray();

  private ProofCheck() {}

  /** The number of players on the board of a proof that holds. */
  static long players(Proof proof) throws GeneralSecurityException, IOException, InterruptedException {
    String[] parts = proof.getHead().split("\\.");
    String header = decoded(parts[0]);
    String head = decoded(parts[1]);
    Signature signature = Signature.getInstance("Ed25519");
    signature.initVerify(publishedKey(field(header, "kid")));
    signature.update((parts[0] + "." + parts[1]).getBytes(StandardCharsets.UTF_8));
    require(signature.verify(Base64.getUrlDecoder().decode(parts[2])), "the signature is wrong");
    boolean isOfBoard = field(header, "typ").equals("board-head+jwt") && field(head, "board").equals(proof.getBoard());
    require(isOfBoard, "the head is of something else");

    byte[] named = (hex(proof.getSalt().toByteArray()) + proof.getUserId()).getBytes(StandardCharsets.UTF_8);
    byte[] digest = sha256(named);
    require(Arrays.equals(digest, proof.getDigest().toByteArray()), "the digest is of another player");
    String leaf = hex(digest) + " " + proof.getRank() + " " + proof.getScore();
    byte[] node = sha256(new byte[] {0}, leaf.getBytes(StandardCharsets.UTF_8));
    long players = Long.parseLong(field(head, "players"));
    long place = proof.getRank() - 1;
    long last = players - 1;
    int level = 0;
    for (ByteString each : proof.getPathList()) {
      byte[] sibling = each.toByteArray();
      // The last node of a level has no neighbor on its right.
      boolean isRight = (place >> level & 1) == 1 || place >> level == last >> level;
      node = isRight ? sha256(new byte[] {1}, sibling, node) : sha256(new byte[] {1}, node, sibling);
      level++;
    }
    require(hex(node).equals(field(head, "root")), "the entry is not in the tree");
    return players;
  }

  private static PublicKey publishedKey(String id)
      throws GeneralSecurityException, IOException, InterruptedException {
    HttpRequest request = HttpRequest.newBuilder(URI.create(System.getenv("KEYS_URL"))).build();
    String keys = HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString()).body();
    for (String key : keys.split("\\}")) {
      if (key.contains("\"" + id + "\"")) {
        byte[] value = Base64.getUrlDecoder().decode(field(key, "x"));
        byte[] encoded = Arrays.copyOf(KEY_PREFIX, KEY_PREFIX.length + value.length);
        System.arraycopy(value, 0, encoded, KEY_PREFIX.length, value.length);
        return KeyFactory.getInstance("Ed25519").generatePublic(new X509EncodedKeySpec(encoded));
      }
    }
    throw new GeneralSecurityException("the key is not published");
  }

  private static String field(String json, String name) {
    Matcher found = Pattern.compile("\"" + name + "\"\\s*:\\s*\"?([^\",}]+)").matcher(json);
    require(found.find(), name + " is missing");
    return found.group(1);
  }

  private static String decoded(String part) {
    return new String(Base64.getUrlDecoder().decode(part), StandardCharsets.UTF_8);
  }

  private static byte[] sha256(byte[]... parts) throws GeneralSecurityException {
    MessageDigest hash = MessageDigest.getInstance("SHA-256");
    for (byte[] part : parts) {
      hash.update(part);
    }
    return hash.digest();
  }

  private static String hex(byte[] bytes) {
    StringBuilder text = new StringBuilder();
    for (byte each : bytes) {
      text.append(String.format("%02x", each));
    }
    return text.toString();
  }

  private static void require(boolean holds, String otherwise) {
    if (!holds) {
      throw new IllegalArgumentException(otherwise);
    }
  }
}
