"""Answers to the exercises of lesson 03, wrong and right; see test_checks.py."""

from . import Corpus

CORPUS: Corpus = {
    "fold_pixels": (
        "x",
        """
        batch, channels, height, width = x.shape
        squares = x.reshape(batch, channels, height // 2, 2, width // 2, 2)
        squares = squares.permute(0, 1, 3, 5, 2, 4)
        return squares.reshape(batch, 4 * channels, height // 2, width // 2)""",
        [
            ("squares = squares.permute(0, 1, 3, 5, 2, 4)", "", "a reshape alone"),
            ("0, 1, 3, 5, 2, 4", "0, 3, 5, 1, 2, 4", "the channels change fastest"),
            ("0, 1, 3, 5, 2, 4", "0, 1, 5, 3, 2, 4", "row by row"),
            ("height // 2, 2, width // 2, 2)", "2, height // 2, 2, width // 2)", "?"),
            ("return squares.reshape", "return (2 * squares).reshape", "2 times the right one"),
            (
                "return squares.reshape(batch, 4 * channels, height // 2, width // 2)",
                "return squares",
                "the shape should be (3, 20, 3, 5)",
            ),
            (
                "return",
                "return F.avg_pool2d(x, 2)\n        return",
                "the shape should be (3, 20, 3, 5)?",
            ),
            (
                "channels, height, width = x.shape",
                "channels, height, width = 3, 5, 6, 10",
                "RuntimeError",
            ),
            (
                "squares.reshape(batch, 4 * channels, height // 2, width // 2)",
                "squares.flatten(1, 3).int()",
                "torch.int32",
            ),
            (
                "height // 2, 2, width // 2, 2)\n        squares = squares.permute(0, 1, 3, 5, 2, 4)",  # noqa: E501
                "2, height // 2, 2, width // 2)\n        squares = squares.permute(0, 1, 2, 4, 3, 5)",  # noqa: E501
                "these are quarters",
            ),
            ("return squares", "squares", "is a `return` missing?"),
            (
                "4 * channels, height // 2, width // 2)",
                "4 * channels, width // 2, height // 2)",
                "the shape should be",
            ),
            ("4 * channels", "channels * 2", "RuntimeError"),
            (
                "return squares",
                "return x[:, :, ::2, ::2]\n        return squares",
                "the shape should be",
            ),
        ],
        [
            (
                "return squares",
                "parts = [x[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)]\n"
                "        return torch.stack(parts, 2).flatten(1, 2)\n        return squares",
            ),
            (
                "x.reshape(batch, channels, height // 2, 2, width // 2, 2)",
                "x.unflatten(3, (-1, 2)).unflatten(2, (-1, 2))",
            ),
            (
                "squares.reshape(batch, 4 * channels, height // 2, width // 2)",
                "squares.flatten(1, 3)",
            ),
            ("return", "return F.pixel_unshuffle(x.double(), 2)\n        return"),
        ],
    ),
    "pixels_seen": (
        "before, after",
        """
        cells = 1 + 2 * after
        return 2 * cells + 2 * before""",
        [
            ("2 * cells", "cells", "two pixels wide"),
            ("2 * cells", "2 * cells - 1", "a square of 2 x 2"),
            ("2 * before", "4 * before", "counts single pixels"),
            ("2 * before", "before", "on either side"),
            (
                "return 2 * cells + 2 * before",
                "return (2 * cells + 2 * before) ** 2",
                "this is the square of",
            ),
            ("1 + 2 * after", "2 * after", "off by -2"),
            ("return", "before, after = after, before\n        return", "?"),
            ("return", "return 6\n        return", "every value is 6"),
            ("return 2 * cells", "return [cells]\n        2 * cells", "a number is wanted"),
            ("1 + 2 * after", "1 + after", "on either side"),
            ("1 + 2 * after", "3 ** after", "the widths add up"),
            ("2 * cells + 2 * before", "2 * (cells + 2 * before)", "counts single pixels"),
            ("2 * cells + 2 * before", "1 + 2 * before + 2 * after + 1", "on either side"),
            ("return 2", "2", "is a `return` missing?"),
            (
                "return 2 * cells + 2 * before",
                "return 2 * (1 + 2 * before) + 2 * after",
                "counts single pixels, one after it double",
            ),
        ],
        [
            ("return 2 * cells + 2 * before", "return 2 * (1 + before + 2 * after)"),
            (
                "cells = 1 + 2 * after",
                "cells = 1\n        for _ in range(after):\n            cells += 2",
            ),
            ("2 * cells + 2 * before", "float(2 + 4 * after + 2 * before)"),
            ("1 + 2 * after", "torch.tensor(1 + 2 * after)"),
        ],
    ),
    "tokens_to_map": (
        "tokens, height, width",
        "return tokens.transpose(1, 2).unflatten(2, (height, width))",
        [
            (
                "tokens.transpose(1, 2).unflatten(2, (height, width))",
                "tokens.reshape(len(tokens), -1, height, width)",
                "move an axis first",
            ),
            ("(height, width)", "(width, height)", "height and width are exchanged"),
            ("(height, width))", "(width, height)).mT", "row by row"),
            (
                ".transpose(1, 2).unflatten(2, (",
                ".unflatten(1, (",
                "the shape should be (3, 3, 3, 5)",
            ),
            (".unflatten(2, (height, width))", "", "the shape should be (3, 3, 3, 5)"),
            ("(height, width))", "(height, width)).flip(2)", "reversed along axis 2"),
            ("(height, width))", "(height, width)) / 2", "0.5 times"),
            ("(height, width)", "(3, 5)", "RuntimeError"),
            ("return tokens", "tokens", "is a `return` missing?"),
            (".transpose(1, 2)", ".transpose(0, 2)", "?"),
            (".transpose(1, 2).unflatten(2, (", ".unflatten(2, (", "RuntimeError"),
            (
                "return tokens",
                "return tokens.view(-1, height, width)\n        return tokens",
                "the shape should be",
            ),
            ("(height, width))", "(height, width)).mT", "axes 2 and 3 are exchanged"),
            (
                ".transpose(1, 2).unflatten(2, (height, width))",
                ".unflatten(1, (height, width)).permute(0, 3, 2, 1)",
                "axes 2 and 3 are exchanged",
            ),
        ],
        [
            ("tokens.transpose(1, 2)", "torch.einsum('bnd->bdn', tokens)"),
            (
                "tokens.transpose(1, 2).unflatten(2, (height, width))",
                "tokens.mT.reshape(len(tokens), -1, height, width)",
            ),
            ("tokens.transpose(1, 2)", "tokens.permute(0, 2, 1).double()"),
            (
                "tokens.transpose(1, 2).unflatten(2, (height, width))",
                "tokens.unflatten(1, (height, width)).permute(0, 3, 1, 2)",
            ),
        ],
    ),
    "gated_update": (
        "x, h, steering",
        """
        scale, shift, gate = steering[:, :, None, None].chunk(3, dim=1)
        return x + gate * (h * (1 + scale) + shift)""",
        [
            ("(1 + scale)", "scale", "leave h unchanged"),
            (
                "gate * (h * (1 + scale) + shift)",
                "h * (1 + scale) + shift",
                "the gate itself multiplies",
            ),
            ("x + gate", "gate", "x is missing"),
            ("+ gate *", "+ (1 + gate) *", "the gate itself multiplies"),
            ("scale, shift, gate =", "shift, scale, gate =", "in this order"),
            ("scale, shift, gate =", "gate, shift, scale =", "in this order"),
            (
                "x + gate * (h * (1 + scale) + shift)",
                "gate * (x + h * (1 + scale) + shift)",
                "all of it and nothing else",
            ),
            (" + shift)", ")", "add the shift, and do not scale it"),
            ("(h * (1 + scale) + shift)", "h * (1 + scale) + shift", "all of it and nothing else"),
            ("return x + gate * (h * (1 + scale) + shift)", "return x", "`x` as it came"),
            ("[:, :, None, None]", "", "RuntimeError"),
            (
                "return x + ",
                "x += gate * (h * (1 + scale) + shift)\n        return x - 0 * ",
                "changes `x`",
            ),
            ("return x", "x", "is a `return` missing?"),
            (
                "(h * (1 + scale) + shift)",
                "(h + shift) * (1 + scale)",
                "add the shift, and do not scale it",
            ),
        ],
        [
            ("h * (1 + scale)", "h + h * scale"),
            ("(h * (1 + scale) + shift)", "((1 + scale) * h) + gate * shift"),
            (
                "steering[:, :, None, None].chunk(3, dim=1)",
                "steering.unflatten(1, (3, -1, 1, 1)).unbind(1)",
            ),
            (
                "x + gate * (h * (1 + scale) + shift)",
                "torch.addcmul(x, gate, h * (1 + scale) + shift)",
            ),
        ],
    ),
    "convolve": (
        "picture, kernel",
        """
        height, width = picture.shape
        padded = F.pad(picture, (1, 1, 1, 1))
        result = torch.zeros(height, width)
        for row in range(height):
            for column in range(width):
                window = padded[row : row + 3, column : column + 3]
                result[row, column] = (window * kernel).sum()
        return result""",
        [
            ("window * kernel", "window * kernel.flip(0, 1)", "do not flip"),
            ("window * kernel", "window * kernel.flip(0)", "do not flip"),
            ("window * kernel", "window * kernel.T", "rows and columns of the kernel"),
            ("window * kernel", "window @ kernel", "`@` is a matrix product"),
            ("window * kernel", "window", "?"),
            (".sum()", ".mean()", "0.1111 times"),
            (".sum()", "", "RuntimeError"),
            (".sum()", ".max()", "?"),
            ("(1, 1, 1, 1)", "(1, 1)", "RuntimeError"),
            ("(1, 1, 1, 1))", "(1, 1, 1, 1), value=1.0)", "there are zeros"),
            ("(1, 1, 1, 1)", "(0, 2, 0, 2)", "off by one"),
            ("(1, 1, 1, 1)", "(2, 0, 2, 0)", "off by one"),
            ("padded[row", "picture[row", "RuntimeError"),
            (
                "F.pad(picture, (1, 1, 1, 1))",
                "picture.repeat(3, 3)[height - 1:, width - 1:]",
                "there are zeros",
            ),
            ("in range(height):", "in range(1, height - 1):", "?"),
            (
                "for row in range(height):\n            for column in range(width)",
                "for row in range(1, height - 1):\n            for column in range(1, width - 1)",
                "the border is missing",
            ),
            ("result = torch.zeros(height, width)", "result = torch.zeros(3, 3)", "IndexError"),
            ("torch.zeros(height, width)", "torch.zeros(height - 2, width - 2)", "IndexError"),
            ("result[row, column] =", "result =", "should be (4, 6), and yours is ()"),
            ("result[row, column] =", "result[row, column] = result[row, column - 1] +", "?"),
            ("return result", "print(result)", "is a `return` missing?"),
        ],
        [
            ("return result", "return F.conv2d(padded[None, None], kernel[None, None])[0, 0]"),
            ("(window * kernel).sum()", "torch.einsum('ij,ij->', window, kernel)"),
            ("(window * kernel).sum()", "window.flatten() @ kernel.flatten()"),
            (
                "return result",
                "parts = [\n            kernel[i, j] * padded[i:i + height, j:j + width]\n"
                "            for i in range(3) for j in range(3)\n        ]\n        return sum(parts)",  # noqa: E501
            ),
        ],
    ),
    "unfold_pixels": (
        "x",
        """
        batch, channels, height, width = x.shape
        squares = x.reshape(batch, channels // 4, 2, 2, height, width)
        squares = squares.permute(0, 1, 4, 2, 5, 3)
        return squares.reshape(batch, channels // 4, 2 * height, 2 * width)""",
        [
            ("squares = squares.permute(0, 1, 4, 2, 5, 3)", "", "a reshape alone"),
            ("channels // 4, 2, 2, height, width", "2, 2, channels // 4, height, width", "?"),
            (
                "channels // 4, 2, 2, height, width)\n        squares = squares.permute(0, 1, 4, 2, 5, 3)",  # noqa: E501
                "2, 2, channels // 4, height, width)\n        squares = squares.permute(0, 3, 4, 1, 5, 2)",  # noqa: E501
                "in this order",
            ),
            ("0, 1, 4, 2, 5, 3", "0, 1, 4, 3, 5, 2", "the first 2 belongs behind H"),
            ("0, 1, 4, 2, 5, 3", "0, 1, 2, 4, 3, 5", "(H, 2, W, 2)"),
            ("0, 1, 4, 2, 5, 3", "0, 1, 4, 2, 3, 5", "(H, 2, W, 2)"),
            ("0, 1, 4, 2, 5, 3", "0, 1, 2, 4, 5, 3", "(H, 2, W, 2)"),
            ("0, 1, 4, 2, 5, 3", "0, 1, 3, 4, 2, 5", "(H, 2, W, 2)"),
            (
                "return",
                "return F.interpolate(x[:, ::4], scale_factor=2)\n        return",
                "?",
            ),
            (
                "        return squares.reshape(batch, channels // 4, 2 * height, 2 * width)",
                "        return squares",
                "the shape should be",
            ),
            (
                "channels, height, width = x.shape",
                "channels, height, width = 3, 20, 3, 4",
                "RuntimeError",
            ),
            ("return squares", "return F.pixel_unshuffle(x, 2)\n        return squares", "?"),
            (
                "batch, channels // 4, 2 * height, 2 * width",
                "batch, -1, 2 * width, 2 * height",
                "the shape should be",
            ),
            (
                "2 * height, 2 * width)",
                "2 * height, 2 * width).mean(1, keepdim=True)",
                "the shape should be",
            ),
            ("        return squares", "        squares", "is a `return` missing?"),
        ],
        [
            ("return squares", "return F.pixel_shuffle(x, 2)\n        return squares"),
            ("reshape(batch, channels // 4, 2, 2, height, width)", "unflatten(1, (-1, 2, 2))"),
            (
                "squares.reshape(batch, channels // 4, 2 * height, 2 * width)",
                "squares.flatten(4).flatten(2, 3)",
            ),
            (
                "return squares",
                "out = x.new_zeros(batch, channels // 4, 2 * height, 2 * width)\n"
                "        for i in range(4):\n            out[:, :, i // 2::2, i % 2::2] = x[:, i::4]\n"  # noqa: E501
                "        return out\n        return squares",
            ),
        ],
    ),
    "through_unet": (
        "x, encode, small, decode",
        """
        skip = encode(x)
        h = small(skip)
        both = torch.cat([h, skip], dim=1)
        return decode(both)""",
        [
            ("[h, skip]", "[skip, h]", "first the channels from small"),
            ("[h, skip]", "[skip, skip]", "the route through small is missing"),
            ("[h, skip]", "[h, h]", "the skip is missing"),
            ("[h, skip]", "[h, x]", "Error"),
            ("torch.cat([h, skip], dim=1)", "h + skip", "RuntimeError"),
            ("torch.cat([h, skip], dim=1)", "h", "RuntimeError"),
            ("dim=1", "dim=0", "RuntimeError"),
            ("dim=1", "dim=-1", "RuntimeError"),
            ("torch.cat([h, skip], dim=1)", "torch.stack([h, skip], dim=1)", "RuntimeError"),
            ("torch.cat([h, skip], dim=1)", "torch.cat(h, skip)", "TypeError"),
            ("return decode(both)", "return both", "the shape should be (1, 3, 5, 6)"),
            ("small(skip)", "small(x)", "RuntimeError"),
            ("small(skip)", "small(small(skip))", "use small once"),
            ("[h, skip]", "[small(h), h]", "use small once"),
            ("return decode(both)", "decode(both)", "is a `return` missing?"),
            ("[h, skip]", "[h, torch.zeros_like(skip)]", "the skip is missing"),
            ("decode(both)", "decode(both) + skip", "Error"),
        ],
        [
            ("both = torch.cat([h, skip], dim=1)", "both = torch.concat((h, skip), 1)"),
            ("dim=1", "dim=-3"),
            (
                "both = torch.cat([h, skip], dim=1)",
                "both = torch.stack([h, skip], 1).flatten(1, 2)",
            ),
            ("return decode(both)", "return decode(torch.cat([small(encode(x)), encode(x)], 1))"),
        ],
    ),
    "overfit": (
        "network, x, target, steps, lr",
        """
        optimizer = torch.optim.AdamW(network.parameters(), lr=lr)
        losses = []
        for _ in range(steps):
            loss = F.mse_loss(network(x), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return torch.tensor(losses)""",
        [
            ("optimizer.zero_grad()", "pass", "call zero_grad() in each"),
            (
                "optimizer.zero_grad()\n            loss.backward()",
                "loss.backward()\n            optimizer.zero_grad()",
                "the weights never change",
            ),
            ("optimizer.step()", "pass", "the weights never change"),
            ("loss.backward()", "pass", "the weights never change"),
            (
                "losses.append(loss.item())",
                "losses.append(F.mse_loss(network(x), target).item())",
                "from before the step",
            ),
            (
                "return torch.tensor(losses)",
                "return torch.tensor(losses[-1:])",
                "the shape should be",
            ),
            ("return torch.tensor(losses)", "return loss", "?"),
            ("return torch.tensor(losses)", "return losses", "of type list"),
            ("return torch.tensor(losses)", "return optimizer", "a tensor is wanted"),
            (
                "F.mse_loss(network(x), target)",
                "((network(x) - target) ** 2).sum()",
                "mean squared error",
            ),
            ("F.mse_loss", "F.l1_loss", "mean squared error"),
            ("AdamW", "SGD", "use AdamW with"),
            ("AdamW", "Adam", "use AdamW with"),
            ("lr=lr", "", "use AdamW with"),
            ("lr=lr", "lr=0.01", "use AdamW with"),
            (
                "            loss = F",
                "            optimizer = torch.optim.AdamW(network.parameters(), lr=lr)\n            loss = F",  # noqa: E501
                "made again in each step",
            ),
            ("network(x), target", "network(x)", "TypeError"),
            ("range(steps)", "range(steps - 1)", "the shape should be"),
            ("network.parameters()", "network", "TypeError"),
            (
                "        return torch.tensor(losses)",
                "        torch.tensor(losses)",
                "is a `return` missing?",
            ),
            (
                "loss.backward()\n            optimizer.step()",
                "optimizer.step()\n            loss.backward()",
                "?",
            ),
        ],
        [
            ("F.mse_loss(network(x), target)", "((network(x) - target) ** 2).mean()"),
            ("F.mse_loss(network(x), target)", "nn.MSELoss()(network(x), target)"),
            ("optimizer.zero_grad()", "network.zero_grad()"),
            (
                "losses.append(loss.item())\n        return torch.tensor(losses)",
                "losses.append(loss.detach())\n        return torch.stack(losses)",
            ),
            ("            loss = F", "            network.train()\n            loss = F"),
        ],
    ),
    "residual_forward": (
        "block, x, condition",
        """
        h = block.conv1(F.silu(block.norm1(x)))
        h = block.norm2(h)
        steering = block.modulation(F.silu(condition))
        scale, shift = steering[:, :, None, None].chunk(2, dim=1)
        h = h * (1 + scale) + shift
        h = block.conv2(F.silu(h))
        return block.skip(x) + h""",
        [
            ("return block.skip(x) + h", "return h", "the input is missing"),
            ("block.skip(x) + h", "x + h", "RuntimeError"),
            ("block.skip(x) + h", "block.skip(x)", "?"),
            ("(1 + scale)", "scale", "leave h unchanged"),
            ("scale, shift =", "shift, scale =", "the first half is the scale"),
            (" + shift", "", "use the scale and the shift"),
            ("h = h * (1 + scale) + shift", "", "use the scale and the shift"),
            ("h * (1 + scale) + shift", "h + shift", "use the scale and the shift"),
            (
                "block.modulation(F.silu(condition))",
                "block.modulation(condition)",
                "in front of the modulation",
            ),
            ("F.silu(block.norm1(x))", "block.norm1(x)", "or of a convolution"),
            ("block.conv2(F.silu(h))", "block.conv2(h)", "or of a convolution"),
            ("block.norm1(x)", "x", "norm1 comes before SiLU, norm2"),
            ("h = block.norm2(h)", "", "norm1 comes before SiLU, norm2"),
            ("F.silu(block.norm1(x))", "block.norm1(F.silu(x))", "norm1 comes before SiLU, norm2"),
            ("[:, :, None, None]", "", "RuntimeError"),
            ("dim=1", "dim=0", "?"),
            ("h * (1 + scale) + shift", "(h + shift) * (1 + scale)", "?"),
            ("return block.skip(x) + h", "block.skip(x) + h", "is a `return` missing?"),
            ("block.conv2(F.silu(h))", "block.conv2(F.relu(h))", "?"),
        ],
        [
            ("h * (1 + scale) + shift", "h + h * scale + shift"),
            ("F.silu(h)", "h * torch.sigmoid(h)"),
            (
                "scale, shift = steering[:, :, None, None].chunk(2, dim=1)",
                "scale, shift = steering.unflatten(1, (2, -1, 1, 1)).unbind(1)",
            ),
            ("block.skip(x) + h", "h + block.skip(x)"),
        ],
    ),
    "unet_forward": (
        "net, x, condition, places",
        """
        skip = net.encode(net.fold(x), condition)
        h = net.down(skip)
        height, width = h.shape[-2:]
        tokens = h.flatten(2).transpose(1, 2) + places
        for block in net.blocks:
            tokens = block(tokens, condition)
        h = tokens.transpose(1, 2).unflatten(2, (height, width))
        h = torch.cat([net.up(h), skip], dim=1)
        h = net.decode(h, condition)
        h = F.silu(net.norm(h))
        return net.unfold(h)""",
        [
            (" + places", "", "add places to the tokens once"),
            (
                "block(tokens, condition)",
                "block(tokens + places, condition)",
                "add places to the tokens once",
            ),
            ("[net.up(h), skip]", "[skip, net.up(h)]", "first the channels from up"),
            ("net.up(h), skip]", "net.up(h), net.fold(x)]", "the output of encode"),
            (
                "skip = net.encode(net.fold(x), condition)",
                "skip = net.fold(x)",
                "the output of encode",
            ),
            ("in net.blocks:", "in []:", "the tokens go through all blocks"),
            ("in net.blocks:", "in net.blocks[:1]:", "the one before"),
            (
                "            tokens = block(tokens",
                "            out = block(tokens",
                "the tokens go through all blocks",
            ),
            (
                "tokens.transpose(1, 2).unflatten(2, (height, width))",
                "tokens.reshape(h.shape)",
                "reshape scrambles",
            ),
            (
                "h.flatten(2).transpose(1, 2)",
                "h.reshape(len(h), height * width, -1)",
                "reshape scrambles",
            ),
            ("(height, width))", "(width, height)).mT", "height and width"),
            ("(height, width))", "(width, height))", "RuntimeError"),
            ("h = F.silu(net.norm(h))", "", "norm, then SiLU"),
            ("F.silu(net.norm(h))", "net.norm(h)", "norm, then SiLU"),
            ("F.silu(net.norm(h))", "F.silu(h)", "norm, then SiLU"),
            ("F.silu(net.norm(h))", "net.norm(F.silu(h))", "norm, then SiLU"),
            ("h = torch.cat([net.up(h), skip], dim=1)", "h = net.up(h) + skip", "RuntimeError"),
            ("h = torch.cat([net.up(h), skip], dim=1)", "h = net.up(h)", "RuntimeError"),
            ("block(tokens, condition)", "block(tokens)", "ValueError"),
            ("net.fold(x), condition", "net.fold(x)", "ValueError"),
            (".transpose(1, 2) + places", " + places", "RuntimeError"),
            ("return net.unfold(h)", "return h", "the shape should be"),
            ("return net.unfold(h)", "net.unfold(h)", "is a `return` missing?"),
            ("return net.unfold(h)", "return net(x, condition)", "?"),
            (
                "(net.norm(h))\n        return net.unfold(h)",
                "(net.norm(h))\n        return net.unfold(h) + x",
                "?",
            ),
        ],
        [
            ("h.flatten(2).transpose(1, 2)", "h.permute(0, 2, 3, 1).flatten(1, 2)"),
            ("tokens.transpose(1, 2).unflatten(2, (height, width))", "tokens.mT.reshape(h.shape)"),
            ("in net.blocks:", "in [*net.blocks]:"),
            ("F.silu(net.norm(h))", "nn.SiLU()(net.norm(h))"),
            (
                "        for block in net.blocks:\n            tokens = block(tokens, condition)",
                "        for i in range(len(net.blocks)):\n            tokens = net.blocks[i](tokens, condition)",  # noqa: E501
            ),
        ],
    ),
    "influence_on": (
        "network, image, row, column",
        """
        image = image.clone().requires_grad_()
        pixel = network(image)[0, :, row, column]
        pixel.sum().backward()
        gradient = image.grad[0]
        return gradient.abs().sum(0)""",
        [
            ("gradient.abs().sum(0)", "gradient.sum(0)", "take absolute values before"),
            ("gradient.abs().sum(0)", "gradient.sum(0).abs()", "take absolute values before"),
            ("gradient.abs().sum(0)", "gradient.abs()", "channels of the gradient"),
            ("gradient.abs().sum(0)", "gradient.abs().mean(0)", "channels of the gradient"),
            ("gradient.abs().sum(0)", "gradient.abs()[0]", "channels of the gradient"),
            ("gradient.abs().sum(0)", "gradient", "channels of the gradient"),
            ("gradient.abs().sum(0)", "(gradient ** 2).sum(0)", "take absolute values before"),
            ("gradient.abs().sum(0)", "gradient.norm(dim=0)", "take absolute values before"),
            ("gradient.abs().sum(0)", "gradient.abs().sum()", "the shape should be"),
            ("gradient.abs().sum(0)", "gradient.abs().sum(0) > 0", "type"),
            ("[0, :, row, column]", "[0]", "the pixel in this row and column"),
            ("[0, :, row, column]", "[0, 0, row, column]", "channels of the output"),
            ("[0, :, row, column]", "[0, :, column, row]", "the pixel in this row and column"),
            (
                "row, column]",
                "len(image[0, 0]) // 2, image.shape[3] // 2]",
                "the pixel in this row and column",
            ),
            (".clone().requires_grad_()", ".clone()", "Error"),
            ("pixel.sum().backward()", "pixel.backward()", "RuntimeError"),
            ("pixel.sum().backward()", "pixel.sum()", "TypeError"),
            ("pixel.sum().backward()", "pixel.mean().backward()", "channels of the output"),
            ("return gradient", "gradient", "is a `return` missing?"),
            ("return gradient.abs().sum(0)", "return network(image)[0].abs().sum(0)", "?"),
        ],
        [
            ("image.clone().requires_grad_()", "image.detach().clone().requires_grad_(True)"),
            ("image = image.clone().requires_grad_()", "image.requires_grad_()"),
            (
                "pixel.sum().backward()\n        gradient = image.grad[0]",
                "gradient = torch.autograd.grad(pixel.sum(), image)[0][0]",
            ),
            ("pixel.sum().backward()", "pixel.backward(torch.ones_like(pixel))"),
            ("gradient.abs().sum(0)", "gradient.norm(1, dim=0)"),
        ],
    ),
    "block_flops": (
        "N, D",
        """
        one_map = 2 * N * D * D
        mlp = 2 * (2 * N * D * 4 * D)
        pairs = 2 * N * N * D
        return 4 * one_map + mlp + 2 * pairs""",
        [
            (
                "return ",
                "return (12 * one_map + 2 * pairs) / 2\n        return ",
                "an addition with each",
            ),
            ("pairs = 2 * N", "pairs = N", "the pairs need scores, and"),
            ("2 * pairs", "pairs", "the pairs need scores, and"),
            (" + 2 * pairs", "", "the pairs need scores, and"),
            ("one_map = 2 * N * D * D", "one_map = 2 * D * D", "?"),
            (
                "one_map = 2 * N * D * D\n        mlp = 2 * (2 * N * D",
                "one_map = 2 * D * D\n        mlp = 2 * (2 * D",
                "each of the N tokens",
            ),
            ("+ mlp", "", "each four times as large"),
            ("mlp = 2 * (2 *", "mlp = (2 *", "each four times as large"),
            ("* 4 * D)", "* D)", "each four times as large"),
            ("N * D * 4 * D", "N * 4 * D * 4 * D", "each four times as large"),
            ("4 * one_map", "3 * one_map", "have a map each"),
            ("4 * one_map", "one_map", "have a map each"),
            ("pairs = 2 * N * N * D", "pairs = 2 * N * N", "costs D multiplications"),
            ("return 4", "return N * 4", "?"),
            (
                "return 4 * one_map + mlp + 2 * pairs",
                "return one_map, mlp, pairs",
                "a number is wanted",
            ),
            ("        return 4", "        4", "is a `return` missing?"),
            ("return 4", "return 2 * 4", "?"),
        ],
        [
            ("return 4 * one_map + mlp + 2 * pairs", "return 24 * N * D**2 + 4 * N**2 * D"),
            ("return 4 * one_map + mlp + 2 * pairs", "return float(12 * one_map + 2 * pairs)"),
            ("4 * one_map + mlp", "12 * one_map"),
            (
                "return 4 * one_map + mlp + 2 * pairs",
                "return torch.tensor(4 * one_map + mlp + 2 * pairs)",
            ),
        ],
    ),
    "model_forward": (
        "model, xt, t, labels=None",
        """
        if labels is None:
            labels = torch.full((len(xt),), model.null_label)
        condition = model.time_embedding(t) + model.label_embedding(labels)
        return model.unet(xt, condition)""",
        [
            (" + model.label_embedding(labels)", "", "add the two vectors"),
            ("model.time_embedding(t) + ", "", "add the two vectors"),
            ("model.null_label)", "0)", "use model.null_label"),
            ("model.null_label)", "model.null_label - 1)", "use model.null_label"),
            ("model.null_label)", "10)", "IndexError"),
            ("if labels is None:", "if True:", "are not used"),
            ("time_embedding(t) +", "time_embedding(t) *", "add the two vectors"),
            (
                "model.time_embedding(t) + model.label_embedding(labels)",
                "torch.cat([model.time_embedding(t), model.label_embedding(labels)], 1)",
                "add the two vectors",
            ),
            (
                "return model.unet(xt, condition)",
                "return condition",
                "the shape should be (3, 2, 3, 3)",
            ),
            (
                "if labels is None:\n            labels = torch.full((len(xt),), model.null_label)",
                "",
                "Error",
            ),
            ("torch.full((len(xt),), model.null_label)", "model.null_label", "Error"),
            ("xt, condition", "condition, xt", "Error"),
            ("unet(xt, condition)", "unet(xt)", "TypeError"),
            (
                "labels = torch.full((len(xt),), model.null_label)",
                "return model.unet(xt, model.time_embedding(t))",
                "the null label is added too",
            ),
            ("return model.unet", "model.unet", "is a `return` missing?"),
            (
                "condition = model.time_embedding(t) +",
                "condition = model.time_embedding(xt) +",
                "Error",
            ),
        ],
        [
            (
                "torch.full((len(xt),), model.null_label)",
                "torch.full_like(t, model.null_label).long()",
            ),
            (
                "torch.full((len(xt),), model.null_label)",
                "torch.tensor([model.null_label] * len(t))",
            ),
            (
                "model.time_embedding(t) + model.label_embedding(labels)",
                "sum([model.label_embedding(labels), model.time_embedding(t)])",
            ),
            ("model.label_embedding(labels)", "model.label_embedding.weight[labels]"),
        ],
    ),
    "find_leak": (
        "layers, image",
        """
        row, column = image.shape[2] // 2, image.shape[3] // 2
        for index, layer in enumerate(layers):
            copy = image.clone().requires_grad_()
            layer(copy)[0, :, row, column].sum().backward()
            influence = copy.grad[0].abs().sum(0)
            influence[row - 1 : row + 2, column - 1 : column + 2] = 0
            if influence.max() > 0:
                return index
        return -1""",
        [
            (
                "influence[row - 1 : row + 2, column - 1 : column + 2] = 0\n            if influence.max() > 0:",  # noqa: E501
                "if (influence > 0).sum() > 9:",
                "a window with gaps",
            ),
            (
                "return index\n        return -1",
                "found = index\n        return found",
                "the last layer",
            ),
            ("return index", "last = index", "?"),
            (
                "for index, layer in enumerate(layers)",
                "for index, layer in reversed([*enumerate(layers)])",
                "the last layer",
            ),
            ("return index", "return index + 1", "counted from 0"),
            ("return -1", "return 0", "return -1 if"),
            ("return -1", "return len(layers)", "return -1 if"),
            ("        return -1", "", "is a `return` missing?"),
            ("return index", "return layer", "a number is wanted"),
            ("> 0:\n", "== 0:\n", "?"),
            ("influence[row - 1 : row + 2, column - 1 : column + 2] = 0", "", "?"),
            ("row + 2, column - 1 : column + 2", "row + 1, column - 1 : column + 1", "?"),
            ("column - 1 : column + 2] = 0", "column] = 0", "?"),
            (".clone().requires_grad_()", ".clone()", "Error"),
            ("[0, :, row, column].sum()", ".sum()", "?"),
            (
                "                return index\n        return -1",
                "                number = index\n        return sum(1 for _ in layers)",
                "?",
            ),
        ],
        [
            ("copy.grad[0].abs().sum(0)", "copy.grad[0].abs().amax(0)"),
            ("influence.max() > 0", "influence.any()"),
            (
                "layer(copy)[0, :, row, column].sum().backward()\n            influence = copy.grad[0]",  # noqa: E501
                "pixel = layer(copy)[0, :, row, column].sum()\n            influence = torch.autograd.grad(pixel, copy)[0][0]",  # noqa: E501
            ),
            (
                "influence[row - 1 : row + 2, column - 1 : column + 2] = 0\n            if influence.max() > 0:",  # noqa: E501
                "rows, columns = influence.nonzero().T\n"
                "            if max((rows - row).abs().max(), (columns - column).abs().max()) > 1:",
            ),
        ],
    ),
}
